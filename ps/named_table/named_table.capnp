# Heads of what the users of a named table and its driver say to each other; see ps/named_table/messages.h for the meaning.
@0xd5b1e0a47c93f286;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::wire");

struct OpenTable @0xa8b1f3b0c5d20401 {
  user @0 :UInt64;
}
struct TableOpened @0xa8b1f3b0c5d20402 {
  writer @0 :UInt32;
  leaseMs @1 :UInt32;
  shard @2 :Data;
  shards @3 :List(Place);
  replication @4 :UInt32 = 1;
  routes @5 :List(Route);

  struct Place {
    node @0 :UInt32;
    actor @1 :UInt32;
    places @2 :List(Text);
  }
  struct Route {
    shard @0 :UInt32;
    epoch @1 :UInt64;
    first @2 :UInt32;              # a node, and its incarnation
    firstLife @3 :UInt64;
    last @4 :UInt32;
    lastLife @5 :UInt64;
  }
}
struct CloseTable @0xa8b1f3b0c5d20403 {
  user @0 :UInt64;
}
struct TableClosed @0xa8b1f3b0c5d20404 {
}
struct DropTable @0xa8b1f3b0c5d20405 {
}
struct TableDropping @0xa8b1f3b0c5d20406 {
}
