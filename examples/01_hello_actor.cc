// Hello, actor: an actor with a typed interface, requests to it, and supervision: it dies, and its supervisor starts another in its place.
#include <cstdio>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "actors/ask.h"
#include "actors/status.h"
#include "actors/supervisor_actor.h"
#include "actors/system.h"
#include "caf/stateful_actor.hpp"
#include "caf/typed_actor.hpp"
#include "caf/typed_event_based_actor.hpp"

// The protocol: a struct a message, and the actor's type says what is answered with what. Requests that do not fit do not compile.
struct Greet {
  std::string name;
};
struct Greeting {
  std::string text;
};
struct Fall {};   // asks the actor to die, as a broken invariant would make it
using Greeter = caf::typed_actor<caf::replies_to<Greet>::with<Greeting>, caf::reacts_to<Fall>>;

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(Greet)   // it stays in this process: nothing to serialise
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(Greeting)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(Fall)

namespace {

struct GreeterState {
  int greetings = 0;   // the actor's own: only its handlers touch it, one message at a time, so no lock is needed
};

Greeter::behavior_type GreeterBehavior(Greeter::stateful_pointer<GreeterState> self) {
  return {
      [self](const Greet& greet) { return Greeting{"hello, " + greet.name + ": greeting " + std::to_string(++self->state.greetings)}; },
      [self](const Fall&) { self->quit(caf::exit_reason::unhandled_exception); },
  };
}

absl::Status GreetBoth(troupe::System& system, const Greeter& greeter, const char* first, const char* second) {
  for (const char* name : {first, second}) {
    TROUPE_TRY(Greeting greeting, troupe::Ask<Greeting>(system, greeter, Greet{name}));
    std::puts(greeting.text.c_str());
  }
  return absl::OkStatus();
}

absl::Status Run() {
  troupe::System system({.compute_threads = 1});   // everything of this process; nothing is global

  // A supervisor is told how to start a child, and starts it again whenever it ends. Each life has a handle of its own: here main waits for them.
  std::promise<Greeter> lives[2];
  size_t life = 0;
  const auto start = [&]() -> absl::StatusOr<caf::actor> {
    auto greeter = system.actors().spawn(GreeterBehavior);
    if (life < 2) lives[life++].set_value(greeter);
    return caf::actor_cast<caf::actor>(greeter);
  };
  std::vector<troupe::SupervisedChild> children(1);
  children[0].spec.id = "greeter";
  children[0].start = start;
  const caf::actor supervisor = troupe::SpawnSupervisor(system, {.intensity = 3}, std::move(children), {});

  const Greeter greeter = lives[0].get_future().get();
  TROUPE_RETURN_IF_ERROR(GreetBoth(system, greeter, "Ada", "Grace"));

  std::puts("the greeter dies");
  caf::anon_send(greeter, Fall{});
  const Greeter next = lives[1].get_future().get();
  const auto late = troupe::Ask<Greeting>(system, greeter, Greet{"Ada"});
  std::printf("the old handle: %s\n", late.status().ToString().c_str());
  TROUPE_RETURN_IF_ERROR(GreetBoth(system, next, "Ada", "Grace"));   // counts from 1: what must survive an actor does not live in it (see 02)

  system.Stop(supervisor);
  system.Stop(next);
  return absl::OkStatus();
}

}   // namespace

int main() {
  const absl::Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return troupe::ExitCode(status);
}
