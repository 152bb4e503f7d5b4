# Heads of the shard's messages; the arrays travel beside them as the frame's bulk blocks, in the order the comments give. See ps/messages.h for the meaning.
@0xd1a3c5a2f0b14e77;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::wire");

struct ValueRun {
  code @0 :UInt8;
  scale @1 :Float32;
  floats @2 :UInt64;
}
struct Packing {                           # of bulk arrays: ps/encoding/packing.h; absent: as they are
  values @0 :List(ValueRun);
  ranges @1 :List(UInt32);
}

struct Push @0xa8b1f3b0c5d20101 {          # bulk: parts, keys, values
  writer @0 :UInt32;
  round @1 :UInt64;
  previous @2 :UInt64;
  roundOver @3 :Bool;
  wantsSnapshot @4 :Bool;
  chunk @5 :UInt32;
  keysHash @6 :UInt64;
  keysKept @7 :Bool;
  packing @8 :Packing;
  after @9 :UInt64;
  change @10 :FunctionCall;                # null: none
  epoch @11 :UInt64;
  order @12 :UInt64;
}
struct Pushed @0xa8b1f3b0c5d20102 {
  expect @0 :Bool;
  clock @1 :UInt64;
  stable @2 :UInt64;
  needKeys @3 :Bool;
  closed @4 :UInt64;
  moved @5 :Bool;
  epoch @6 :UInt64;
  order @7 :UInt64;
}
struct Pull @0xa8b1f3b0c5d20103 {          # bulk: parts, keys
  writer @0 :UInt32;
  round @1 :UInt64;
  keysHash @2 :UInt64;
  keysKept @3 :Bool;
  packing @4 :Packing;
  piece @5 :UInt32;
  tables @6 :UInt64;
  view @7 :UInt64;
  epoch @8 :UInt64;
  after @9 :UInt64;
  inPieces @10 :Bool;
}
struct Pulled @0xa8b1f3b0c5d20104 {        # bulk: values, or its pieces
  needsKeys @0 :Bool;
  packing @1 :Packing;
  clock @2 :UInt64;
  moved @3 :UInt64;
  pieces @4 :UInt8;                        # 0: not in pieces
}
struct PushPull @0xa8b1f3b0c5d20105 {      # bulk: push parts, keys, values, pull parts, keys
  push @0 :Push;
  pull @1 :Pull;
}
struct PushPulled @0xa8b1f3b0c5d20106 {    # bulk: values, or their pieces
  pushed @0 :Pushed;
  pulled @1 :Pulled;
}
struct Open @0xa8b1f3b0c5d20107 {
  writer @0 :UInt32;
  through @1 :UInt64;
}
struct Opened @0xa8b1f3b0c5d20108 {        # bulk: applied
  clock @0 :UInt64;
  stable @1 :UInt64;
  epoch @2 :UInt64;
}
struct Assign @0xa8b1f3b0c5d20109 {        # bulk: keys, values
  table @0 :UInt32;
}
struct Assigned @0xa8b1f3b0c5d2010a {
}
struct TakeSnapshot @0xa8b1f3b0c5d2010b {
  uri @0 :Text;
  at @1 :UInt64;
  inParts @2 :Bool;
  base @3 :Text;
}
struct SnapshotTaken @0xa8b1f3b0c5d2010c {
  clock @0 :UInt64;
  bytes @1 :UInt64;
  files @2 :List(Text);
}
struct SaveRows @0xa8b1f3b0c5d2010d {      # bulk: keys, values of each assigned table
  uri @0 :Text;
  at @1 :UInt64;
  assigned @2 :List(UInt32);               # tables
}
struct RowsSaved @0xa8b1f3b0c5d2010e {
  rows @0 :UInt64;
  nonzeros @1 :UInt64;
  late @2 :UInt64;
  dropped @3 :UInt64;
  evicted @4 :UInt64;
  epoch @5 :UInt64;
}
struct Call @0xa8b1f3b0c5d2010f {          # bulk: keys, values of each assigned table
  call @0 :FunctionCall;
  at @1 :UInt64;
  assigned @2 :List(UInt32);               # tables
  view @3 :UInt64;
}
struct Called @0xa8b1f3b0c5d20110 {        # bulk: parts, keys, numbers
  epoch @0 :UInt64;
}

struct Prepare @0xa8b1f3b0c5d20111 {
  cut @0 :UInt64;
  holdMs @1 :UInt32;
}
struct Prepared @0xa8b1f3b0c5d20112 {      # bulk: clocks
  epoch @0 :UInt64;
}
struct Freeze @0xa8b1f3b0c5d20113 {        # bulk: clocks
  cut @0 :UInt64;
  waitMs @1 :UInt32;
  leaseMs @2 :UInt32;
}
struct Frozen @0xa8b1f3b0c5d20114 {
}
struct Release @0xa8b1f3b0c5d20115 {
  cut @0 :UInt64;
}
struct Released @0xa8b1f3b0c5d20116 {
}
struct AskRanges @0xa8b1f3b0c5d20117 {
  loads @0 :Bool;
}
struct Ranges @0xa8b1f3b0c5d20118 {        # bulk: map, loads
  inDoubt @0 :UInt64;
}
struct Stand @0xa8b1f3b0c5d20119 {         # bulk: clocks, map
  cut @0 :UInt64;
  uri @1 :Text;
  waitMs @2 :UInt32;
  holdMs @3 :UInt32;
}
struct Standing @0xa8b1f3b0c5d2011a {
}
struct TakeIn @0xa8b1f3b0c5d2011b {
  cut @0 :UInt64;
  uris @1 :List(Text);
}
struct TakenIn @0xa8b1f3b0c5d2011c {
}
struct Settle @0xa8b1f3b0c5d2011d {
  cut @0 :UInt64;
  epoch @1 :UInt64;
  commit @2 :Bool;
}
struct Settled @0xa8b1f3b0c5d2011e {
}

struct FunctionCall {
  function @0 :Text;
  tables @1 :List(UInt32);
  numbers @2 :List(Numbers);
  words @3 :List(Word);
  keys @4 :List(UInt64);
  values @5 :List(Float32);

  struct Numbers {
    name @0 :Text;
    values @1 :List(Float64);
  }
  struct Word {
    name @0 :Text;
    word @1 :Text;
  }
}

struct TableSpec {
  name @0 :Text;
  width @1 :UInt32;
  dense @2 :Bool;
  rows @3 :UInt64;
  rule @4 :Text;
  ruleOptions @5 :List(Option);
  l1 @6 :Float64;
  l2 @7 :Float64;
  penalisedFrom @8 :UInt64;
  sum @9 :Bool;
  ranges @10 :UInt32;
  weightDecay @11 :Float64;
  initKind @12 :UInt8;
  initScale @13 :Float64;
  initSeed @14 :UInt64;
  schedule @15 :Text;
  clipValue @16 :Float64;
  clipNorm @17 :Float64;
  nonFinite @18 :UInt8;
  stalenessScale @19 :Bool;
  encoding @20 :Text;
  delayCompensation @21 :Float64;
  admitAfter @22 :UInt32 = 1;
  ttl @23 :UInt64;
  rowsMax @24 :UInt64;
  memoryMax @25 :UInt64;
  branchOf @26 :Text;

  struct Option {
    name @0 :Text;
    value @1 :Float64;
  }
}

# What a shard process is told when it starts: the arguments of Spawn "shard".
struct ShardJob {
  tables @0 :List(TableSpec);
  shard @1 :UInt32;
  shards @2 :UInt32;
  writers @3 :UInt32;
  consistency @4 :Text;
  stableWhenApplied @5 :Bool;
  snapshotUri @6 :Text;
  snapshotIntervalMs @7 :UInt32;
  restoreUri @8 :Text;
  pullWaitMaxMs @9 :UInt32;
  writersGoOn @10 :Bool;
  logFolder @11 :Text;
  logBytesMax @12 :UInt64;
  tierFolder @13 :Text;
  catchUpMaxMs @14 :UInt32;
}
