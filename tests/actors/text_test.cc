// Text: sizes, durations, names and numbers, with what each refuses; Status, Address and their texts.
#include "actors/text.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "actors/address.h"
#include "actors/status.h"

namespace troupe {
namespace {

std::string Bytes(std::string_view text) {
  uint64_t bytes = 0;
  const absl::Status status = ParseBytes(text, &bytes);
  return status.ok() ? std::to_string(bytes) : std::string(Message(status));
}

std::string Seconds(std::string_view text) {
  double seconds = 0;
  const absl::Status status = ParseDuration(text, &seconds);
  return status.ok() ? Exact(seconds) : std::string(Message(status));
}

}   // namespace

BOOST_AUTO_TEST_SUITE(Text)

BOOST_AUTO_TEST_CASE(sizes_are_read_with_binary_units) {
  BOOST_TEST(Bytes("4096") == "4096");
  BOOST_TEST(Bytes("0") == "0");
  BOOST_TEST(Bytes("100B") == "100");
  BOOST_TEST(Bytes("1K") == "1024");
  BOOST_TEST(Bytes("256M") == "268435456");
  BOOST_TEST(Bytes("256MB") == "268435456");
  BOOST_TEST(Bytes("256MiB") == "268435456");
  BOOST_TEST(Bytes("1.5g") == "1610612736");
  BOOST_TEST(Bytes("2T") == "2199023255552");
  BOOST_TEST(Bytes("18446744073709551615") == "18446744073709551615");
}

BOOST_AUTO_TEST_CASE(what_is_no_size_is_refused_by_name) {
  for (const std::string text : {"", "M", "-1", "1.5", "256X", "256MM", "1e3", "inf", "nan", " 1", "1 M", "0x10", "18446744073709551616", "16777216T", ".",
                                 "99999999999.5T", "12iB", "1..5K"}) {
    BOOST_TEST(Bytes(text) == "'" + text + "' is not a size; expected bytes, as in 4096, 256M or 1.5G");
  }
}

BOOST_AUTO_TEST_CASE(durations_are_read_in_seconds) {
  BOOST_TEST(Seconds("200ms") == "0.2");
  BOOST_TEST(Seconds("5s") == "5");
  BOOST_TEST(Seconds("2m") == "120");
  BOOST_TEST(Seconds("1.5h") == "5400");
  BOOST_TEST(Seconds("0.25") == "0.25");
  for (const std::string text : {"", "s", "-1s", "5 s", "5d", "inf", "nan", "5S", "1e5"}) {
    BOOST_TEST(Seconds(text) == "'" + text + "' is not a duration; expected a number and ms, s, m or h, as in 200ms or 5s");
  }
  BOOST_TEST(Seconds(std::string(310, '9')).starts_with("'999"));
  BOOST_TEST(Seconds(std::string(308, '9') + "h").ends_with("5s"));
}

BOOST_AUTO_TEST_CASE(numbers_are_shown_for_people) {
  BOOST_TEST(WithThousands(0) == "0");
  BOOST_TEST(WithThousands(999) == "999");
  BOOST_TEST(WithThousands(1000) == "1,000");
  BOOST_TEST(WithThousands(1234567) == "1,234,567");
  BOOST_TEST(HumanBytes(0) == "0 B");
  BOOST_TEST(HumanBytes(999) == "999 B");
  BOOST_TEST(HumanBytes(1000) == "1.0 kB");
  BOOST_TEST(HumanBytes(9960) == "10 kB");
  BOOST_TEST(HumanBytes(350'000'000) == "350 MB");
  BOOST_TEST(HumanBytes(999'960'000) == "1.0 GB");
  BOOST_TEST(HumanBytes(1'200'000'000) == "1.2 GB");
  BOOST_TEST(HumanBytes(UINT64_MAX) == "18 EB");
  BOOST_TEST(HumanSeconds(0.83) == "0.83 s");
  BOOST_TEST(HumanSeconds(0.999) == "1.0 s");
  BOOST_TEST(HumanSeconds(12.3) == "12 s");
  BOOST_TEST(HumanSeconds(59.7) == "1 m 00 s");
  BOOST_TEST(HumanSeconds(200) == "3 m 20 s");
  BOOST_TEST(HumanSeconds(3599.6) == "1 h 00 m");
  BOOST_TEST(HumanSeconds(7500) == "2 h 05 m");
  BOOST_TEST(HumanSeconds(-1) == "0 s");
  BOOST_TEST(HumanSeconds(std::nan("")) == "0 s");
  BOOST_TEST(HumanSeconds(std::numeric_limits<double>::infinity()).ends_with(" m"));
}

BOOST_AUTO_TEST_CASE(exact_text_reads_back_as_the_same_number) {
  for (const float value : {0.1f, -1.0f / 3, 1e-42f, 3.4028235e38f, 0.0f}) BOOST_TEST(std::strtof(Exact(value).c_str(), nullptr) == value);
  for (const double value : {0.1, -1.0 / 3, 5e-324, 1.7976931348623157e308}) BOOST_TEST(std::strtod(Exact(value).c_str(), nullptr) == value);
  BOOST_TEST(Exact(0.1f) == "0.1");
  BOOST_TEST(Exact(1.0) == "1");
}

BOOST_AUTO_TEST_CASE(the_nearest_name_is_offered_only_when_it_is_near) {
  const std::vector<std::string> names{"workers", "shards", "splits", "k"};
  BOOST_TEST(NearestName("wokers", names).value() == "workers");
  BOOST_TEST(NearestName("WORKERS", names).value() == "workers");
  BOOST_TEST(NearestName("sahrds", names).value() == "shards");   // neighbours swapped: one slip
  BOOST_TEST(NearestName("split", names).value() == "splits");
  BOOST_TEST(NearestName("sha", names).value() == "shards");   // its start
  BOOST_TEST(NearestName("logistik", std::vector<std::string>{"k_means", "linear_regression", "logistic_regression"}).value() == "logistic_regression");
  BOOST_TEST(!NearestName("epochs", names).has_value());
  BOOST_TEST(!NearestName("x", names).has_value());
  BOOST_TEST(!NearestName("", names).has_value());
  BOOST_TEST(UnknownName("setting", "wokers", names) == "unknown setting 'wokers'; did you mean 'workers'?");
  BOOST_TEST(UnknownName("setting", "epochs", names) == "unknown setting 'epochs'; known: workers, shards, splits, k");
  BOOST_TEST(UnknownName("setting", "epochs", {}) == "unknown setting 'epochs'; known: none");
}

BOOST_AUTO_TEST_CASE(context_keeps_the_kind_and_the_payload) {
  absl::Status status = absl::NotFoundError("no such table");
  status.SetPayload("troupe/key", absl::Cord("7"));
  const absl::Status with = WithContext(status, "shard 3");
  BOOST_TEST(absl::IsNotFound(with));
  BOOST_TEST(Message(with) == "shard 3: no such table");
  BOOST_TEST(with.GetPayload("troupe/key").value() == "7");
  BOOST_TEST(WithContext(absl::OkStatus(), "shard 3").ok());
}

BOOST_AUTO_TEST_CASE(exit_codes_tell_bad_input_from_trouble) {
  BOOST_TEST(ExitCode(absl::OkStatus()) == 0);
  for (const auto& status : {absl::InvalidArgumentError("x"), absl::NotFoundError("x"), absl::PermissionDeniedError("x"), absl::OutOfRangeError("x"),
                             absl::FailedPreconditionError("x"), absl::AlreadyExistsError("x"), absl::UnimplementedError("x"), absl::DataLossError("x")}) {
    BOOST_TEST(ExitCode(status) == 2);
  }
  for (const auto& status : {absl::InternalError("x"), absl::ResourceExhaustedError("x"), absl::UnavailableError("x"), absl::DeadlineExceededError("x"),
                             absl::AbortedError("x"), absl::CancelledError("x"), absl::UnauthenticatedError("x")}) {
    BOOST_TEST(ExitCode(status) == 1);
  }
}

BOOST_AUTO_TEST_CASE(the_macros_pass_errors_on) {
  const auto half = [](int x) -> absl::StatusOr<int> { return x % 2 == 0 ? absl::StatusOr<int>(x / 2) : absl::InvalidArgumentError("odd"); };
  const auto quarter = [&](int x) -> absl::StatusOr<int> {
    TROUPE_TRY(const int once, half(x));
    TROUPE_TRY(const int twice, half(once));
    TROUPE_RETURN_IF_ERROR(twice == 0 ? absl::OutOfRangeError("zero") : absl::OkStatus());
    return twice;
  };
  BOOST_TEST(quarter(8).value() == 2);
  BOOST_TEST(Message(quarter(6).status()) == "odd");
  BOOST_TEST(Message(quarter(0).status()) == "zero");
}

BOOST_AUTO_TEST_CASE(an_address_has_a_text) {
  BOOST_TEST(ToString(Address{NodeId{3}, Incarnation{7}, ActorId{12}}) == "3/7/12");
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
