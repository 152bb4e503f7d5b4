// Quoting, numbers, commas.
#include "tools/troupe/json.h"

#include <cmath>

#include "absl/strings/str_format.h"
#include "actors/text.h"

namespace troupe {
namespace {

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      absl::StrAppendFormat(&quoted, "\\u%04x", static_cast<unsigned>(c));
    else
      quoted += c;
  }
  return quoted + "\"";
}

}   // namespace

JsonObject& JsonObject::Add(std::string_view key, std::string_view json) {
  absl::StrAppend(&fields_, fields_.empty() ? "" : ",", Quoted(key), ":", Absl(json));
  return *this;
}

JsonObject& JsonObject::Text(std::string_view key, std::string_view text) {
  return Add(key, Quoted(text));
}
JsonObject& JsonObject::Whole(std::string_view key, uint64_t number) {
  return Add(key, absl::StrCat(number));
}
JsonObject& JsonObject::Number(std::string_view key, double number) {
  return Add(key, std::isfinite(number) ? Exact(number) : "null");
}
JsonObject& JsonObject::Object(std::string_view key, const JsonObject& object) {
  return Add(key, object.Line());
}

JsonObject& JsonObject::Texts(std::string_view key, const std::vector<std::string>& texts) {
  std::string list = "[";
  for (const std::string& text : texts) absl::StrAppend(&list, list.size() == 1 ? "" : ",", Quoted(text));
  return Add(key, list + "]");
}

JsonObject& JsonObject::List(std::string_view key, const std::vector<JsonObject>& objects) {
  std::string list = "[";
  for (const JsonObject& object : objects) absl::StrAppend(&list, list.size() == 1 ? "" : ",", object.Line());
  return Add(key, list + "]");
}

JsonObject MetricsObject(const std::vector<std::pair<std::string, double>>& metrics) {
  JsonObject object;
  for (const auto& [name, value] : metrics) object.Number(name, value);
  return object;
}

}   // namespace troupe
