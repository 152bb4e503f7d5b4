# What travels between two processes. Every message is one Cap'n Proto RPC message over a stream socket; one socket, or several that are one link, is one lane
# of one direction.
@0x92083fec169e7f21;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::wire");

interface Link {
  # Must be the first call of a connection; both ends compare. `code` is an absl::StatusCode: 0, or why the caller is refused (the answering hello is then empty).
  hello @0 (hello :Hello) -> (hello :Hello, code :UInt16, message :Text);

  # One frame to one actor and one back. `incarnation` is the life of the called node that the caller means, 0 for whichever lives.
  # `order`: 1, 2, ... of the requests of a link of several connections, in the order in which they are to be handled; 0 on a connection that is alone.
  # `code` and `message` are the called actor's error; with an error the reply has no frame.
  request @1 (actor :UInt32, incarnation :UInt64, type :UInt64, head :Data, bulk :List(Bulk), order :UInt64)
      -> (code :UInt16, message :Text, type :UInt64, head :Data, bulk :List(Bulk));
}

struct Bulk {
  # Bytes, or where they lie in memory that both ends map.
  union {
    inline @0 :Data;
    shared :group {
      segment @1 :UInt32;
      counter @2 :UInt32;   # of the sender's references: whoever has read the bytes subtracts one
      offset @3 :UInt64;
      size @4 :UInt64;
      fresh @5 :Bool;       # the segment's descriptor comes with this message
    }
  }
}

struct Hello {
  protocol @0 :UInt32;      # version of this file; any difference is refused
  clusterId @1 :Text;       # the job or cluster; another one's processes are refused
  node @2 :UInt32;
  incarnation @3 :UInt64;
  token @4 :Text;           # the cluster's secret; only in the caller's hello
  buildId @5 :Text;         # all processes of a job run the same bytes
  lane @6 :UInt8;           # 0 control, 1 bulk
  shares @7 :Bool;          # can map the other's memory: the socket is a Unix one and it is not switched off
  link @8 :UInt64;          # of several connections, the same and the caller's choice; they end together. 0: this one is alone
}
