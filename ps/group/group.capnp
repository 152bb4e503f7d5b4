# Heads of what members of a group send each other; see ps/group/messages.h for the meaning.
@0xe2c1b7f4a9d06358;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::wire");

struct ReduceMessage @0xa8b1f3b0c5d20201 { # bulk: values
  group @0 :UInt64;
  table @1 :UInt32;
  from @2 :UInt32;
  turn @3 :UInt64;
  chunk @4 :UInt32;
  whole @5 :Bool;
  writers @6 :UInt64;
  nonzeros @7 :UInt64;
}
struct ReduceTaken @0xa8b1f3b0c5d20202 {
  taken @0 :Bool;
}
struct AssignCopy @0xa8b1f3b0c5d20203 {    # bulk: keys, values
  group @0 :UInt64;
  table @1 :UInt32;
}
struct Greeting @0xa8b1f3b0c5d20204 {
  member @0 :UInt32;
  incarnations @1 :List(UInt64);
  over @2 :UInt64;
  inStep @3 :Bool;
}
struct FetchState @0xa8b1f3b0c5d20205 {
  group @0 :UInt64;
  at @1 :UInt64;
}
struct StatePiece @0xa8b1f3b0c5d20206 {    # bulk: bytes
  over @0 :UInt64;
  total @1 :UInt64;
}
