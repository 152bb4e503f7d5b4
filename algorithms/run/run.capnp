# Messages between driver and workers, and what a worker process is told when it starts. See algorithms/run/messages.h for the meaning.
@0xbb1c3e5d6f708192;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::wire");

struct PhaseRecord {
  number @0 :UInt64;
  epoch @1 :UInt64;
  name @2 :Text;
  arguments @3 :List(Float64);
  shuffle @4 :Bool;
  batchRows @5 :UInt32;
  pushes @6 :Bool;
  change @7 :Data;                         # a FunctionCall of ps.capnp; empty: none
}
struct RunPhase @0xc7d0b8a190010301 {      # bulk: as PhaseReport's, of what is said of splits so far
  run @0 :UInt64;
  current @1 :PhaseRecord;
  earlier @2 :List(PhaseRecord);
  waitMs @3 :UInt32;
  hold @4 :Bool;
  share @5 :List(SplitTask);
  shareNumber @6 :UInt64;
}
struct SplitTask {
  split @0 :UInt32;
  prepare @1 :Bool;
  behind @2 :UInt64;
  goesOn @3 :Bool;                         # behind what `soFar` says
  soFar @4 :SplitReport;
}
struct SplitReport {
  split @0 :UInt32;
  state @1 :UInt8;
  rows @2 :UInt64;
  nonzeros @3 :UInt64;
  badRows @4 :UInt64;
  bytes @5 :UInt64;
  bytesTotal @6 :UInt64;
  pulled @7 :UInt64;
  copied @8 :UInt64;
  batches @9 :UInt64;
  clock @10 :UInt64;
  batchTimeUs @11 :UInt64;
  workingMs @12 :UInt64;
  complete @13 :Bool;
}
struct PhaseReport @0xc7d0b8a190010302 {   # bulk: of all splits the sums, their lengths, what was collected, its lengths, what is kept, its lengths
  run @0 :UInt64;
  shareNumber @1 :UInt64;
  splits @2 :List(SplitReport);
}

struct Attach @0xc7d0b8a190010303 {
  node @0 :UInt32;
  incarnation @1 :UInt64;
  places @2 :List(Text);
}
struct Attached @0xc7d0b8a190010304 {
}
struct Locations @0xc7d0b8a190010305 {
  nodes @0 :List(WorkerJob.Place);
}
struct Located @0xc7d0b8a190010306 {
}
struct Leave @0xc7d0b8a190010307 {
}

struct Schema {
  format @0 :Text;
  label @1 :Text;
  columns @2 :List(Text);
}
# The arguments of Spawn "replica".
struct ReplicaJob {
  shard @0 :Data;                          # a ShardJob of ps.capnp
  places @1 :List(WorkerJob.Place);        # of the other processes of the job, as far as they are known
}
# The arguments of Spawn "worker".
struct WorkerJob {
  algorithm @0 :Text;
  params @1 :List(Param);
  uri @2 :Text;
  format @3 :Text;
  label @4 :Text;
  labelKind @5 :UInt8;
  skipBadRows @6 :Bool;
  spoolFds @7 :List(Int32);
  splitsTotal @8 :UInt32;
  seed @9 :UInt64;
  consistency @10 :Text;
  cacheBytes @11 :UInt64;
  heldBytes @12 :UInt64;
  shards @13 :List(Place);                 # where shard i is
  replicaBytes @14 :UInt64;
  replicaStaleness @15 :UInt32;
  members @16 :List(Place);                # where worker i keeps its copy of the tables; empty: no worker keeps any
  member @17 :UInt32;                      # which of them this one is
  copy @18 :Data;                          # a ShardJob of ps.capnp: its copy
  chains @19 :List(Place);                 # where the members of all chains are, as far as that is known; `shards` then says only how many there are
  chained @20 :Bool;

  struct Param {
    name @0 :Text;
    value @1 :Text;
  }
  struct Place {
    node @0 :UInt32;
    places @1 :List(Text);
    actor @2 :UInt32;
  }
}
