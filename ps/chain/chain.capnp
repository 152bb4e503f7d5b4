# Heads of what the members of a chain and its keeper send each other; see ps/chain/messages.h for the meaning.
@0xc8a3d51f7be04962;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::wire");

struct ChainMember {
  node @0 :UInt32;
  incarnation @1 :UInt64;
}
struct Configure @0xa8b1f3b0c5d20301 {
  number @0 :UInt64;
  epoch @1 :UInt64;
  members @2 :List(ChainMember);
  joining @3 :ChainMember;                 # null: nobody
}
struct Configured @0xa8b1f3b0c5d20302 {
  joined @0 :Bool;
}
struct Forward @0xa8b1f3b0c5d20303 {       # bulk: the change's head, then its arrays
  epoch @0 :UInt64;
  number @1 :UInt64;
  change @2 :UInt64;                       # its message's type
}
struct Forwarded @0xa8b1f3b0c5d20304 {
  through @0 :UInt64;
}
struct Align @0xa8b1f3b0c5d20305 {
  epoch @0 :UInt64;
  number @1 :UInt64;
}
struct Aligned @0xa8b1f3b0c5d20306 {
}
struct Adopt @0xa8b1f3b0c5d20307 {         # bulk: bytes
  view @0 :UInt64;
  number @1 :UInt64;
  piece @2 :UInt32;
  pieces @3 :UInt32;
  section @4 :UInt32;
  name @5 :Text;
  size @6 :UInt64;
  offset @7 :UInt64;
  attempt @8 :UInt64;
  part @9 :UInt32;
  more @10 :Bool;
}
struct Adopted @0xa8b1f3b0c5d20308 {
}
struct ChainRoute {
  shard @0 :UInt32;
  epoch @1 :UInt64;
  first @2 :ChainMember;
  last @3 :ChainMember;
}
struct SetRoutes @0xa8b1f3b0c5d20309 {
  routes @0 :List(ChainRoute);
}
struct RoutesSet @0xa8b1f3b0c5d2030a {
}
struct CompareRange @0xa8b1f3b0c5d2030b {
  table @0 :UInt32;
  range @1 :UInt32;
  clocks @2 :UInt64;
  rows @3 :UInt64;
}
