// A head's actor and any number of nodes that are only names, in one thread and in virtual time. Every message passes through its codec, as on a link.
#pragma once

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "actors/clock.h"
#include "actors/cluster/head_actor.h"
#include "actors/cluster/programs.h"
#include "actors/cluster/wire.h"
#include "actors/storage/scratch_folder.h"
#include "caf/event_based_actor.hpp"
#include "tests/actors/cluster/member.h"
#include "tests/support/virtual_system.h"

namespace troupe::testing {

class Crowd {
 public:
  struct Counts {
    uint64_t reports = 0, answers = 0, news = 0, errors = 0, bytes = 0;   // news: answers with orders in them
  };

  explicit Crowd(uint32_t nodes, HeadOptions options = {}) : gone_(nodes) {
    for (uint32_t i = 1; i <= nodes; ++i) members_.emplace_back(i, 4);
    virtual_.system().SetCompute(std::make_unique<AtOnce>());
    std::shared_ptr<Store> store = MakeMemoryStore();
    const auto election = store->Campaign("");
    BOOST_REQUIRE_MESSAGE(election.ok(), election.status().ToString());
    auto head = SpawnHead(virtual_.system(), {.head = std::move(options),
                                              .store = store,
                                              .generation = election->generation,
                                              .program_folder = programs_.path(),
                                              .clock = &clock_,
                                              .ended = nullptr});
    BOOST_REQUIRE_MESSAGE(head.ok(), head.status().ToString());
    head_ = *head;
    asker_ = virtual_.system().actors().spawn<caf::hidden>([this](caf::event_based_actor* self) -> caf::behavior {
      self_ = self;
      return {[](const Thunk& thunk) { thunk.run(); }};
    });
    virtual_.Settle();
  }
  ~Crowd() {
    virtual_.system().Stop(asker_);
    virtual_.system().Stop(head_);
    virtual_.Settle();
  }

  /// The nodes begin to report, one after the other, within `time`.
  void Begin(Clock::Duration time) {
    for (size_t i = 0; i < members_.size(); ++i) {
      Run(time * static_cast<int64_t>(i + 1) / static_cast<int64_t>(members_.size()) - time * static_cast<int64_t>(i) / static_cast<int64_t>(members_.size()));
      Do([this, i] { Report(i); });
    }
  }
  void Run(Clock::Duration time) {
    for (left_ += time; left_ >= kStep; left_ -= kStep) {
      clock_.Advance(kStep);
      virtual_.Advance(kStep);
    }
  }
  /// Kills a node, as by kill -9.
  void Kill(size_t i) { gone_[i] = true; }

  /// Asks the head, and runs until it has answered, 5 s at most.
  template <class Reply, class Request>
  absl::StatusOr<Reply> Ask(const Request& request) {
    absl::StatusOr<Reply> result = absl::UnknownError("no reply");
    bool done = false;
    Do([&] {
      self_->request(head_, caf::infinite, There(request))
          .then(
              [&](const Reply& reply) {
                result = There(reply);
                done = true;
              },
              [&](const caf::error& error) {
                result = FromError(error);
                done = true;
              });
    });
    for (int i = 0; i < 500 && !done; ++i) Run(kStep);
    return result;
  }

  /// Gives the head a program, which nobody will run, and says its hash.
  std::string PutProgram() {
    const Block bytes = Block::Copy("#!/bin/true\n", 12);
    const auto put = Ask<ProgramPut>(troupe::PutProgram{HashOfBytes(bytes), bytes.size(), 0, bytes});
    BOOST_REQUIRE_MESSAGE(put.ok() && put->have == bytes.size(), put.status().ToString());
    return HashOfBytes(bytes);
  }
  std::deque<Member>& members() { return members_; }
  Counts counts;
  Clock::Duration passed() const { return clock_.Now().time_since_epoch(); }

 private:
  static constexpr std::chrono::milliseconds kStep{5};
  struct AtOnce final : Compute {
    void Submit(Priority, std::function<void()> work) override { work(); }
    int threads() const override { return 1; }
  };

  template <class Message>
  Message There(const Message& message) {
    const Frame frame = Codec<Message>::Encode(message);
    counts.bytes += frame.head.size();
    auto back = Codec<Message>::Decode(frame);
    BOOST_REQUIRE_MESSAGE(back.ok(), back.status().ToString());
    return *std::move(back);
  }
  void Do(std::function<void()> what) {
    System::Deliver(asker_, Thunk{std::move(what)});
    virtual_.Settle();
  }
  void Report(size_t i) {
    Member& member = members_[i];
    if (gone_[i] || member.left) return;
    ++counts.reports;
    self_->request(head_, caf::infinite, There(member.MakeReport()))
        .then(
            [this, i, number = member.number](const Orders& orders) {
              Member& to = members_[i];
              if (gone_[i] || number != to.number) return;
              ++counts.answers;
              counts.news += !orders.unchanged;
              to.Obey(There(orders));
              Report(i);
            },
            [this](const caf::error&) { ++counts.errors; });
  }

  ScratchFolder programs_ = *ScratchFolder::Make("");
  VirtualSystem virtual_;
  ManualClock clock_;
  HeadActor head_;
  caf::actor asker_;
  caf::event_based_actor* self_ = nullptr;
  std::deque<Member> members_;
  std::vector<bool> gone_;
  Clock::Duration left_{0};
};

}   // namespace troupe::testing
