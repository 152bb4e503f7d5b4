// Parameters by name: declared once (name, default, range, doc), which makes the checks, the command's help and the SDK's.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace troupe {

using ParamValue = std::variant<bool, int64_t, double, std::string>;

/// One declared parameter.
struct ParamSpec {
  std::string name;
  ParamValue default_value;                                // its type is the parameter's
  double min = -std::numeric_limits<double>::infinity();   // numbers: inclusive
  double max = std::numeric_limits<double>::infinity();
  bool min_exclusive = false;
  std::vector<std::string> choices = {};   // strings: the allowed ones; empty: any
  std::string doc = {};                    // one line, with the unit
};

/// The values of one run: every declared parameter has one.
class Params {
 public:
  /// Defaults of `specs`, overridden by `given` ("k" -> "v" as text). NotFound: unknown name, with the nearest. InvalidArgument: not of the type, or out of
  /// range: "learning_rate is -1, expected a number > 0".
  static absl::StatusOr<Params> Parse(const std::vector<ParamSpec>& specs, const std::map<std::string, std::string>& given);

  bool Bool(std::string_view name) const;
  int64_t Int(std::string_view name) const;
  double Real(std::string_view name) const;
  const std::string& Text(std::string_view name) const;
  /// name -> value as text, exact; Parse gives the same Params back.
  std::map<std::string, std::string> ToText() const;

 private:
  const ParamValue& Get(std::string_view name) const;   // TROUPE_CHECKs that it is declared
  std::map<std::string, ParamValue, std::less<>> values_;
};

}   // namespace troupe
