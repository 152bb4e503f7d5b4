#include "actors/caf_status.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "caf/atom.hpp"
#include "caf/exit_reason.hpp"
#include "caf/message.hpp"
#include "caf/sec.hpp"

#include "actors/check.h"

namespace troupe {
namespace {
const auto kCategory = caf::atom("troupe");
}

caf::error ToError(const absl::Status& status) {
  TROUPE_CHECK(!status.ok());
  return caf::error(static_cast<uint8_t>(status.code()), kCategory, caf::make_message(std::string(status.message())));
}

absl::Status FromError(const caf::error& error) {
  if (error.category() == kCategory) {
    std::string text;
    if (error.context().match_elements<std::string>()) text = error.context().get_as<std::string>(0);
    return absl::Status(static_cast<absl::StatusCode>(error.code()), text);
  }
  if (error == caf::sec::request_timeout) return absl::DeadlineExceededError("no answer in time");
  return absl::UnavailableError(absl::StrCat("actor is gone (", to_string(error), ")"));
}

bool IsRetryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsCancelled(status);
}

}   // namespace troupe
