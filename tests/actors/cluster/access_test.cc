#include "actors/cluster/access.h"

#include <boost/test/unit_test.hpp>

#include "actors/cluster/wire.h"

namespace troupe {

BOOST_AUTO_TEST_SUITE(AccessSuite)

BOOST_AUTO_TEST_CASE(each_message_of_the_head_takes_its_role) {
  const auto least = [](uint64_t type) { return std::string(ToString(LeastRole(kHeadActor, type))); };
  BOOST_TEST(least(Codec<Inspect>::kType) == "read");
  BOOST_TEST(least(Codec<ReadOutput>::kType) == "read");
  BOOST_TEST(least(Codec<Submit>::kType) == "submit");
  BOOST_TEST(least(Codec<PutProgram>::kType) == "submit");
  BOOST_TEST(least(Codec<StopJob>::kType) == "submit");
  BOOST_TEST(least(Codec<FindEndpoint>::kType) == "submit");   // it holds a secret
  BOOST_TEST(least(Codec<Report>::kType) == "admin");
  BOOST_TEST(least(Codec<Claim>::kType) == "admin");
  BOOST_TEST(least(Codec<DrainNode>::kType) == "admin");
  BOOST_TEST(least(Codec<GetProgram>::kType) == "admin");
  BOOST_TEST(least(7) == "admin");   // whatever may come
}

BOOST_AUTO_TEST_CASE(other_actors_are_an_admins) {
  BOOST_TEST((LeastRole(ActorId{0}, Codec<Inspect>::kType) == Role::kAdmin));   // the spawner
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
