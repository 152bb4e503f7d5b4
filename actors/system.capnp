# Messages of the runtime itself.
@0xe3b64ac2b1a7c9d5;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::wire");

struct Spawn @0x9f2c4be1d0aa0201 {         # bulk: arguments
  factory @0 :Text;
  actor @1 :UInt32;
}
struct Spawned @0x9f2c4be1d0aa0202 {
}
