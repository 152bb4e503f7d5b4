#include "ps/all_reduce.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/stream_copy.h"
#include "actors/text.h"

namespace troupe {
namespace {

uint64_t CeilDivide(uint64_t a, uint64_t b) {
  return (a + b - 1) / b;
}

void Add(const ReduceCounts& from, ReduceCounts& into) {
  into.writers += from.writers;
  into.nonzeros += from.nonzeros;
}

}   // namespace

absl::StatusOr<AllReduce> AllReduce::Make(const AllReduceOptions& options) {
  if (options.topology == KeptBy::kShards) return absl::InvalidArgumentError("all-reduce: no topology, expected ring or tree");
  if (options.member >= options.members) {
    return absl::InvalidArgumentError(absl::StrCat("all-reduce: member is ", options.member, ", expected below the number of members, ", options.members));
  }
  if (options.chunk_floats_max == 0) return absl::InvalidArgumentError("all-reduce: chunk_floats_max is 0, expected at least 1");
  return AllReduce(options);
}

AllReduce::AllReduce(const AllReduceOptions& options) : options_(options), partials_(options.floats), sums_(options.floats) {
  uint64_t chunks = std::max<uint64_t>(1, CeilDivide(options.floats, options.chunk_floats_max));
  if (options.topology == KeptBy::kRing) {   // as many for every member to start
    const uint64_t members = options.members;
    if (options.floats / members >= std::max<uint64_t>(1, options.chunk_floats_min) || chunks > 1) chunks = CeilDivide(chunks, members) * members;
    chunks = std::clamp<uint64_t>(chunks, 1, std::max<uint64_t>(1, options.floats));
  }
  chunks_ = static_cast<uint32_t>(chunks);
  for (auto& turn : chunks_of_) turn.resize(chunks_);
}

uint64_t AllReduce::Begin(uint32_t chunk) const {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(options_.floats) * chunk / chunks_);
}

AllReduce::Links AllReduce::LinksOf(uint32_t chunk) const {
  Links links;
  const uint32_t n = options_.members, me = options_.member;
  if (n == 1) return links;
  if (options_.topology == KeptBy::kRing) {
    const uint32_t place = (me + n - chunk % n) % n;   // on the way of the chunk: 0 starts it, n - 1 has the whole one first
    const uint32_t next = (me + 1) % n, before = (me + n - 1) % n;
    links.whole_from = before;
    if (place > 0) links.from[links.sources++] = before;
    if (place < n - 1) links.to = next;
    if (place != n - 2) links.spread_to[links.spreads++] = next;   // its next one had it first
    return links;
  }
  if (me > 0) links.to = links.whole_from = (me - 1) / 2;
  for (const uint64_t child : {uint64_t{me} * 2 + 1, uint64_t{me} * 2 + 2}) {
    if (child >= n) continue;
    links.from[links.sources++] = static_cast<uint32_t>(child);
    links.spread_to[links.spreads++] = static_cast<uint32_t>(child);
  }
  return links;
}

absl::Status AllReduce::Refuse(const ReduceMessage& message, const std::string& what) const {
  return absl::InvalidArgumentError(absl::StrCat("all-reduce: member ", message.from, " sends ", message.whole ? "the whole of " : "a part of ", "chunk ",
                                                 message.chunk, " of turn ", message.turn, " to member ", options_.member, ": ", what));
}

absl::Status AllReduce::Contribute(std::shared_ptr<const std::vector<float>> values, const ReduceCounts& counts, std::vector<Outgoing>& out) {
  if (contributed_) return absl::FailedPreconditionError(absl::StrCat("all-reduce: member ", options_.member, " gives numbers of turn ", turn_, " twice"));
  if (values != nullptr && values->size() != options_.floats)
    return absl::InvalidArgumentError(absl::StrCat("all-reduce: ", values->size(), " numbers, expected ", options_.floats));
  contributed_ = true;
  own_counts_ = counts;
  own_ = std::move(values);
  // A ring's chunks in the order in which they leave here first.
  const uint32_t first = options_.topology == KeptBy::kRing ? options_.member % chunks_ : 0;
  for (uint32_t i = 0; i < chunks_; ++i) Combine((first + i) % chunks_, out);
  return absl::OkStatus();
}

absl::Status AllReduce::Receive(const ReduceMessage& message, std::vector<Outgoing>& out) {
  if (message.chunk >= chunks_) return Refuse(message, absl::StrCat("expected one of ", chunks_, " chunks"));
  const Links links = LinksOf(message.chunk);
  const auto sources = links.from.begin() + links.sources;
  const auto source = std::find(links.from.begin(), sources, message.from);
  if (message.whole ? !links.to || links.whole_from != message.from : source == sources) return Refuse(message, "expected it from elsewhere");
  if (!message.values.empty() && (!message.values.IsArrayOf<float>() || message.values.As<float>().size() != SizeOf(message.chunk))) {
    return Refuse(message, absl::StrCat(message.values.size(), " bytes, expected ", SizeOf(message.chunk), " floats"));
  }
  if (message.turn < turn_) return absl::OkStatus();   // it came late, or twice
  if (message.turn > turn_ + 1) return Refuse(message, absl::StrCat("expected one of turns ", turn_, " and ", turn_ + 1));
  if (message.whole && (message.turn > turn_ || !contributed_)) return Refuse(message, "this member's numbers are not in it");
  Chunk& chunk = chunks_of_[message.turn % 2][message.chunk];
  if (message.whole) {
    if (!chunk.whole) Finish(message.chunk, message.counts, message.values, out);
    return absl::OkStatus();
  }
  Part& part = chunk.parts[static_cast<size_t>(source - links.from.begin())];
  if (std::exchange(part.here, true)) return absl::OkStatus();
  part.counts = message.counts;
  part.values = message.values;
  if (message.turn == turn_ && contributed_) Combine(message.chunk, out);
  return absl::OkStatus();
}

void AllReduce::Combine(uint32_t number, std::vector<Outgoing>& out) {
  Chunk& chunk = chunks_of_[turn_ % 2][number];
  const Links links = LinksOf(number);
  for (uint32_t i = 0; i < links.sources; ++i)
    if (!chunk.parts[i].here) return;
  const uint64_t begin = Begin(number), floats = SizeOf(number);
  ReduceCounts counts = own_counts_;
  Block values = own_ == nullptr ? Block() : Block::View(own_->data() + begin, floats * sizeof(float), own_);
  for (uint32_t i = 0; i < links.sources; ++i) {
    Add(chunk.parts[i].counts, counts);
    const Block theirs = std::exchange(chunk.parts[i].values, Block());
    if (theirs.empty()) continue;
    if (values.empty()) {
      values = theirs;
      continue;
    }
    if (partial_ == nullptr) partial_ = partials_.Take();
    float* to = partial_->data() + begin;
    const float *first = values.As<float>().data(), *second = theirs.As<float>().data();
    for (uint64_t k = 0; k < floats; ++k) to[k] = first[k] + second[k];
    values = Block::View(to, floats * sizeof(float), partial_);
  }
  if (links.to) {
    out.push_back({*links.to, {.from = options_.member, .turn = turn_, .chunk = number, .whole = false, .counts = counts, .values = std::move(values)}});
  } else {
    Finish(number, counts, values, out);
  }
}

void AllReduce::Finish(uint32_t number, const ReduceCounts& counts, const Block& values, std::vector<Outgoing>& out) {
  Chunk& chunk = chunks_of_[turn_ % 2][number];
  chunk.whole = true;
  chunk.counts = counts;
  ++finished_;
  if (sum_ == nullptr) sum_ = sums_.Take();
  float* to = sum_->data() + Begin(number);
  if (values.empty()) {
    std::fill_n(to, SizeOf(number), 0.0f);
  } else if (options_.floats * sizeof(float) >= kStreamedBytes) {
    StreamCopy(to, values.data(), values.size());
  } else {
    std::memcpy(to, values.data(), values.size());
  }
  const Links links = LinksOf(number);
  for (uint32_t i = 0; i < links.spreads; ++i) {
    out.push_back({links.spread_to[i], {.from = options_.member, .turn = turn_, .chunk = number, .whole = true, .counts = counts, .values = values}});
  }
}

std::optional<AllReduce::Sum> AllReduce::Take() {
  if (finished_ < chunks_) return std::nullopt;
  std::vector<Chunk>& chunks = chunks_of_[turn_ % 2];
  Sum sum{.values = std::exchange(sum_, nullptr), .counts = chunks[0].counts};
  chunks.assign(chunks_, {});
  ++turn_;
  finished_ = 0;
  contributed_ = false;
  own_ = nullptr;
  partial_ = nullptr;
  return sum;
}

void AllReduce::Restart() {
  turn_ = 0;
  finished_ = 0;
  contributed_ = false;
  own_ = nullptr;
  partial_ = sum_ = nullptr;
  for (auto& chunks : chunks_of_) chunks.assign(chunks_, {});
}

std::string AllReduce::WaitsFor() const {
  if (!contributed_) return "";
  for (uint32_t number = 0; number < chunks_; ++number) {
    const Chunk& chunk = chunks_of_[turn_ % 2][number];
    if (chunk.whole) continue;
    const Links links = LinksOf(number);
    for (uint32_t i = 0; i < links.sources; ++i) {
      if (!chunk.parts[i].here) return absl::StrCat("turn ", turn_, " for a part of chunk ", number, " of member ", links.from[i]);
    }
    return absl::StrCat("turn ", turn_, " for the whole of chunk ", number, " from member ", links.whole_from);
  }
  return "";
}

}   // namespace troupe
