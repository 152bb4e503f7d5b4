// A cluster of real processes on this machine, for tests: a head, nodes, and what asks them.
#pragma once

#include <signal.h>
#include <sys/stat.h>

#include <boost/test/results_collector.hpp>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "tests/process/command.h"

namespace troupe::testing {

using Words = std::vector<std::string>;

inline Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
inline bool Holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
/// Until `what` holds, at most 30 s.
inline void Await(const std::string& name, const std::function<bool()>& what) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!what()) {
    BOOST_REQUIRE_MESSAGE(std::chrono::steady_clock::now() < end, "not within 30 s: " << name);
    Sleep(0.02);
  }
}

/// `troupe node`, and where it listens.
struct Daemon {
  Daemon(const Scratch& scratch, const Words& flags, const Words& environment = {}, const std::string& program = TROUPE_PROGRAM)
      : log(scratch / ("log" + std::to_string(++count))) {
    Command::Options options{.arguments = Words{"node", "--log", log} + flags, .environment = environment};
    options.program = program;
    command = std::make_unique<Command>(scratch, std::move(options));
  }
  /// From its log, which says it before the first line that it prints.
  void AwaitPlace() {
    Await("listening", [&] {
      const std::string text = ReadText(log);
      const size_t at = text.find(" listening="), end = text.find(' ', at + 1);
      if (at != std::string::npos && end != std::string::npos) place = text.substr(at + 11, end - at - 11);
      return !place.empty() || !command->running();
    });
    if (place.empty()) BOOST_FAIL(command->Wait().err);
  }
  void Kill() {
    command->Signal(SIGKILL);
    command->Wait();
  }
  std::string log, place;
  std::unique_ptr<Command> command;
  static inline int count = 0;
};

struct Cluster {
  Cluster() {
    WriteText(scratch / "token", "a token that is long enough\n");
    head = std::make_unique<Daemon>(scratch, HeadFlags("127.0.0.1:0"));
    head->AwaitPlace();
    places = head->place;
  }
  /// Without a head: whoever starts some says where they are.
  explicit Cluster(std::nullptr_t) { WriteText(scratch / "token", "a token that is long enough\n"); }
  /// What heads and nodes have written, of a case that has failed: it goes with the folder.
  ~Cluster() {
    if (boost::unit_test::results_collector.results(boost::unit_test::framework::current_test_case_id()).passed()) return;
    for (const std::string& name : Names(scratch.path())) {
      if (name.starts_with("log")) std::cerr << name << ":\n" << ReadText(scratch / name);
    }
  }
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;
  Words HeadFlags(const std::string& listen) const { return {"--head", "--listen", listen, "--state", scratch / "head", "--token-file", scratch / "token"}; }
  std::unique_ptr<Daemon> Node(const std::string& name, const Words& more = {}) {
    auto node = std::make_unique<Daemon>(
        scratch, Words{"--join", places, "--name", name, "--cores", "2", "--state", scratch / name, "--token-file", scratch / "token"} + more);
    AwaitStatus(name + " is up", [&](const std::string& status) { return Holds(status, "{\"name\":\"" + name + "\",\"state\":\"up\""); });
    return node;
  }
  Words At() const { return {"--cluster", places, "--token-file", scratch / "token"}; }
  Ended Ask(const Words& words) { return Run(scratch, words + At()); }
  std::unique_ptr<Command> Start(const Words& words) {
    return std::make_unique<Command>(scratch, Command::Options{.arguments = words + At(), .environment = {}});
  }
  /// A job's flags come before what is its program's.
  std::unique_ptr<Command> Submit(const std::string& script, const Words& flags = {}, const Words& arguments = {}) {
    return std::make_unique<Command>(
        scratch, Command::Options{.arguments = Words{"submit", Script(script)} + flags + At() + Words{"--"} + arguments, .environment = {}});
  }
  std::string Script(const std::string& text) {
    const std::string path = scratch / ("script" + std::to_string(++scripts));
    WriteText(path, "#!/bin/sh\n" + text);
    BOOST_REQUIRE(chmod(path.c_str(), 0755) == 0);
    return path;
  }
  void AwaitStatus(const std::string& name, const std::function<bool(const std::string&)>& holds) {
    Await(name, [&] {
      const Ended status = Ask({"status", "--json"});
      return status.code == 0 && holds(status.out);
    });
  }
  void AwaitFile(const std::string& path, size_t lines = 1) {
    Await(path, [&] { return Lines(ReadText(path)) >= lines; });
  }
  /// Processes of this cluster's jobs whose first word is `role` ("worker", "shard", or what a driver's is), on whatever node.
  std::vector<pid_t> InRole(const std::string& role) const {
    std::vector<pid_t> found;
    for (const std::string& name : Names("/proc")) {
      const auto pid = static_cast<pid_t>(std::atol(name.c_str()));
      if (pid <= 0 || !ReadText("/proc/" + name + "/cmdline").starts_with(std::string("troupe\0", 7) + role + '\0')) continue;
      if (Holds(ReadText("/proc/" + name + "/environ"), "TMPDIR=" + scratch.path()) && !IsLeakSearch(pid)) found.push_back(pid);
    }
    return found;
  }
  const Scratch scratch;
  int scripts = 0;
  std::string places;   ///< of heads, with commas between
  std::unique_ptr<Daemon> head;
};

inline pid_t PidIn(const std::string& path) {
  return static_cast<pid_t>(std::atol(ReadText(path).c_str()));
}

}   // namespace troupe::testing
