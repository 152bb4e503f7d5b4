# Messages between a cluster's nodes, its head, drivers and clients, and what the head keeps of them. See actors/cluster/messages.h for the meaning.
@0xd1a7f0c2b3e49581;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::wire");

struct NameValue {
  name @0 :Text;
  value @1 :Text;
}
struct NameCount {
  name @0 :Text;
  count @1 :UInt32;
}
struct ProcessId {
  job @0 :UInt64;
  name @1 :Text;
  incarnation @2 :UInt64;
}
struct ProcessNeeds {
  cores @0 :UInt32;
  memory @1 :UInt64;
  labels @2 :List(NameValue);
  unused @3 :Text;                 # one word of `apart`, as heads kept it before there could be several
  disk @4 :UInt64;
  accelerators @5 :List(NameCount);
  apart @6 :List(Text);
}
struct ProcessOrder {
  id @0 :ProcessId;
  needs @1 :ProcessNeeds;
  program @2 :Text;
  arguments @3 :List(Text);
  environment @4 :List(Text);
  folder @5 :Text;
  placing @6 :UInt8;
  handOverMaxMs @7 :UInt64;
}
struct ProcessReport {
  id @0 :ProcessId;
  needs @1 :ProcessNeeds;
  state @2 :UInt8;
  code @3 :Int32;
  reason @4 :Text;
  cannotStart @5 :Bool;
}
struct NodeCapacity {
  cores @0 :UInt32;
  memory @1 :UInt64;
  disk @2 :UInt64;
  labels @3 :List(NameValue);
  accelerators @4 :List(NameCount);
  memoryKeptBy @5 :Text;
}
struct Report @0x8f3d5b7c10020001 {
  node @0 :UInt32;
  incarnation @1 :UInt64;
  number @2 :UInt64;
  name @3 :Text;
  host @4 :Text;
  places @5 :List(Text);
  capacity @6 :NodeCapacity;
  leaving @7 :Bool;
  seen @8 :UInt64;
  generation @9 :UInt64;
  processes @10 :List(ProcessReport);
}
struct Orders @0x8f3d5b7c10020002 {
  verdict @0 :UInt8;
  generation @1 :UInt64;
  incarnation @2 :UInt64;
  version @3 :UInt64;
  unchanged @4 :Bool;
  keep @5 :List(ProcessId);
  start @6 :List(ProcessOrder);
}
struct Endpoint @0x8f3d5b7c10020013 {
  place @0 :Text;
  network @1 :Text;
  token @2 :Text;
  about @3 :Text;
}
struct FindEndpoint @0x8f3d5b7c10020012 {
  job @0 :UInt64;
}
struct Claim @0x8f3d5b7c10020003 {
  job @0 :UInt64;
  attempt @1 :UInt64;
  wanted @2 :List(ProcessOrder);
  seen @3 :UInt64;
  number @4 :UInt64;
  endpoint @5 :Endpoint;
  sameEndpoint @6 :Bool;
}
struct ClaimedProcess {
  id @0 :ProcessId;
  state @1 :UInt8;
  code @2 :Int32;
  reason @3 :Text;
  node @4 :Text;
  before @5 :Text;
  leaves @6 :Bool;
}
struct Claimed @0x8f3d5b7c10020004 {
  version @0 :UInt64;
  processes @1 :List(ClaimedProcess);
}
struct JobSpec {
  name @0 :Text;
  queue @1 :Text;
  program @2 :Text;
  arguments @3 :List(Text);
  environment @4 :List(Text);
  folder @5 :Text;
  needs @6 :ProcessNeeds;
  attempts @7 :UInt32;
  timeLimitMs @8 :UInt64;
  priority @9 :Int32;
}
struct Submit @0x8f3d5b7c10020005 {
  request @0 :Text;
  spec @1 :JobSpec;
}
struct Submitted @0x8f3d5b7c10020006 {
  job @0 :UInt64;
}
struct JobStatus {
  job @0 :UInt64;
  spec @1 :JobSpec;
  state @2 :UInt8;
  code @3 :Int32;
  reason @4 :Text;
  attempt @5 :UInt64;
  submittedMs @6 :Int64;
  startedMs @7 :Int64;
  endedMs @8 :Int64;
  processes @9 :List(ClaimedProcess);
  about @10 :Text;
}
struct NodeStatus {
  node @0 :UInt32;
  incarnation @1 :UInt64;
  name @2 :Text;
  host @3 :Text;
  state @4 :UInt8;
  reason @5 :Text;
  capacity @6 :NodeCapacity;
  coresUsed @7 :UInt32;
  memoryUsed @8 :UInt64;
  processes @9 :UInt32;
  diskUsed @10 :UInt64;
  acceleratorsUsed @11 :List(NameCount);
  sinceMs @12 :Int64;
}
struct QueueStatus {
  name @0 :Text;
  weight @1 :UInt32;
  cores @2 :UInt64;
  running @3 :UInt32;
  waiting @4 :UInt32;
}
struct Inspect @0x8f3d5b7c10020007 {
  job @0 :UInt64;
  seen @1 :UInt64;
}
struct Inspected @0x8f3d5b7c10020008 {
  version @0 :UInt64;
  generation @1 :UInt64;
  nodes @2 :List(NodeStatus);
  jobs @3 :List(JobStatus);
  events @4 :List(Text);
  queues @5 :List(QueueStatus);
}
struct StopJob @0x8f3d5b7c10020009 {
  job @0 :UInt64;
}
struct DrainNode @0x8f3d5b7c1002000a {
  node @0 :Text;
  force @1 :Bool;
}
struct Done @0x8f3d5b7c1002000b {
}
struct ReadOutput @0x8f3d5b7c1002000c {
  id @0 :ProcessId;
  errors @1 :Bool;
  offset @2 :UInt64;
}
struct Output @0x8f3d5b7c1002000d {        # bulk: bytes
  over @0 :Bool;
}
struct PutProgram @0x8f3d5b7c1002000e {    # bulk: bytes
  hash @0 :Text;
  size @1 :UInt64;
  offset @2 :UInt64;
}
struct ProgramPut @0x8f3d5b7c1002000f {
  have @0 :UInt64;
}
struct GetProgram @0x8f3d5b7c10020010 {
  hash @0 :Text;
  offset @1 :UInt64;
}
struct ProgramPart @0x8f3d5b7c10020011 {   # bulk: bytes
  size @0 :UInt64;
}

# What the head's store holds: records "job/N" and "node/N", and "life/N/NAME": the highest incarnation of a process that was placed, as decimal text.
struct JobRecord {
  status @0 :JobStatus;          # without processes, until it is over
  request @1 :Text;
  driverNodes @2 :List(UInt32);  # by attempt
}
struct NodeRecord {
  status @0 :NodeStatus;
  places @1 :List(Text);
}
