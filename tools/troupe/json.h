// JSON text, one line: what scripts read from the last line of stdout.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace troupe {

/// One object, its fields in the order of the calls.
class JsonObject {
 public:
  JsonObject& Text(std::string_view key, std::string_view text);
  JsonObject& Whole(std::string_view key, uint64_t number);
  /// Exact; null where it is not finite (JSON has no word for that).
  JsonObject& Number(std::string_view key, double number);
  JsonObject& Object(std::string_view key, const JsonObject& object);
  JsonObject& Texts(std::string_view key, const std::vector<std::string>& texts);
  JsonObject& List(std::string_view key, const std::vector<JsonObject>& objects);
  std::string Line() const { return "{" + fields_ + "}"; }

 private:
  JsonObject& Add(std::string_view key, std::string_view json);
  std::string fields_;
};

/// {"auc":0.9,...}
JsonObject MetricsObject(const std::vector<std::pair<std::string, double>>& metrics);

}   // namespace troupe
