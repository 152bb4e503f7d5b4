// manifest.json: written by hand, so that it is pretty and its checksum is over plain text; read by Cap'n Proto's JSON parser, whose exceptions stay here.
#include "algorithms/manifest.h"

#include <xxhash.h>

#include <capnp/compat/json.h>
#include <capnp/message.h>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/str_format.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr std::string_view kStart = "{\n  \"format\": \"troupe model\",\n";
constexpr std::string_view kChecksumField = ",\n  \"checksum\": \"";
constexpr std::string_view kEnd = "\"\n}\n";
constexpr uint64_t kExactMax = uint64_t{1} << 53;   // JSON numbers are doubles to most readers: larger ones are written as text

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      absl::StrAppend(&out, "\\", std::string(1, c));
    else if (static_cast<unsigned char>(c) < 0x20)
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + "\"";
}

/// Undoes Quoted's \u00XX: the parser of Cap'n Proto 0.9 misreads hexadecimal letters, but takes the bytes themselves.
std::string WithBytesForEscapes(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    const bool escape = text[i] == '\\' && i + 1 < text.size();
    if (escape && text[i + 1] == 'u' && i + 6 <= text.size() &&
        std::from_chars(text.data() + i + 2, text.data() + i + 6, code, 16).ptr == text.data() + i + 6 && code < 0x20) {
      out += static_cast<char>(code);
      i += 5;
    } else {
      out += text[i];
      if (escape) out += text[++i];
    }
  }
  return out;
}

std::string WholeText(uint64_t number) {
  return number <= kExactMax ? absl::StrCat(number) : Quoted(absl::StrCat(number));
}

std::string Joined(const std::vector<std::string>& items, char open, char close, bool lines) {
  std::string out(1, open);
  for (size_t i = 0; i < items.size(); ++i) absl::StrAppend(&out, i == 0 ? "" : lines ? "," : ", ", lines ? "\n    " : "", items[i]);
  return absl::StrCat(out, lines && !items.empty() ? "\n  " : "", std::string(1, close));
}

std::string_view LabelText(LabelKind kind) {
  switch (kind) {
    case LabelKind::kBinary:
      return "binary";
    case LabelKind::kReal:
      return "real";
    default:
      return "none";
  }
}

using capnp::JsonValue;

/// One JSON object: fields by name. The first that is missing or of another kind is remembered, and reads as nothing.
class Fields {
 public:
  Fields(JsonValue::Reader value, std::string* wrong) : wrong_(wrong) {
    if (value.isObject())
      fields_ = value.getObject();
    else
      Wrong("a JSON object");
  }
  std::string Text(std::string_view name) const {
    const auto value = Find(name);
    return value && value->isString() ? std::string(value->getString().cStr(), value->getString().size()) : (Wrong(name), "");
  }
  double Number(std::string_view name) const {
    const auto value = Find(name);
    return value && value->isNumber() ? value->getNumber() : (Wrong(name), 0.0);
  }
  uint64_t Whole(std::string_view name, uint64_t max = std::numeric_limits<uint64_t>::max()) const {
    const auto value = Find(name);
    uint64_t whole = 0;
    if (value && value->isString()) {
      const auto text = value->getString();
      const auto [end, error] = std::from_chars(text.begin(), text.end(), whole);
      if (error != std::errc() || end != text.end()) Wrong(name);
    } else if (const double number = Number(name); number >= 0 && number <= static_cast<double>(kExactMax) && number == std::floor(number)) {
      whole = static_cast<uint64_t>(number);
    } else {
      Wrong(name);
    }
    if (whole > max) Wrong(name);
    return whole;
  }
  template <class Visit>
  void EachItem(std::string_view name, Visit visit) const {
    const auto value = Find(name);
    if (!value || !value->isArray()) return Wrong(name);
    for (const JsonValue::Reader item : value->getArray()) visit(item);
  }
  template <class Visit>
  void EachField(std::string_view name, Visit visit) const {
    const auto value = Find(name);
    if (!value || !value->isObject()) return Wrong(name);
    for (const auto field : value->getObject()) visit(std::string(field.getName().cStr()), field.getValue());
  }
  Fields Object(std::string_view name) const {
    const auto value = Find(name);
    if (!value) Wrong(name);
    return Fields(value.value_or(JsonValue::Reader()), wrong_);
  }
  void Wrong(std::string_view name) const {
    if (wrong_->empty()) *wrong_ = name;
  }

 private:
  std::optional<JsonValue::Reader> Find(std::string_view name) const {
    for (const auto field : fields_)
      if (name == field.getName().cStr()) return field.getValue();
    return std::nullopt;
  }
  capnp::List<JsonValue::Field>::Reader fields_;
  std::string* wrong_;
};

void ReadLabels(const Fields& fields, Manifest& manifest) {
  const std::string kind = fields.Object("labels").Text("kind");
  for (const LabelKind known : {LabelKind::kNone, LabelKind::kBinary, LabelKind::kReal}) {
    manifest.labels = known;
    if (kind == LabelText(known)) return;
  }
  fields.Wrong("labels");
}

Manifest FromFields(const Fields& fields, std::string* wrong) {
  Manifest manifest;
  manifest.troupe_version = fields.Text("troupe_version");
  manifest.algorithm = fields.Text("algorithm");
  fields.EachField("params", [&](const std::string& name, JsonValue::Reader value) {
    value.isString() ? void(manifest.params[name] = value.getString().cStr()) : fields.Wrong("params");
  });
  const Fields schema = fields.Object("schema");
  manifest.schema.format = schema.Text("format");
  manifest.schema.label = schema.Text("label");
  schema.EachItem("columns", [&](JsonValue::Reader column) {
    column.isString() ? void(manifest.schema.columns.emplace_back(column.getString().cStr())) : fields.Wrong("columns");
  });
  ReadLabels(fields, manifest);
  manifest.seed = fields.Whole("seed");
  manifest.epochs = static_cast<int>(fields.Whole("epochs", std::numeric_limits<int>::max()));
  manifest.consistency = fields.Text("consistency");
  manifest.data = fields.Text("data");
  manifest.rows = fields.Whole("rows");
  fields.EachField("metrics", [&](const std::string& name, JsonValue::Reader value) {
    value.isNumber() ? void(manifest.metrics.emplace_back(name, value.getNumber())) : fields.Wrong("metrics");
  });
  manifest.created = fields.Text("created");
  fields.EachItem("tables", [&](JsonValue::Reader item) {
    const Fields table(item, wrong);
    manifest.tables.push_back({table.Text("name"), static_cast<uint32_t>(table.Whole("width", std::numeric_limits<uint32_t>::max())), table.Whole("rows")});
  });
  fields.EachItem("parts", [&](JsonValue::Reader item) {
    const Fields part(item, wrong);
    manifest.parts.push_back({part.Text("name"), part.Whole("bytes"), part.Text("checksum")});
  });
  return manifest;
}

absl::Status CheckIntegrity(std::string_view text) {
  const absl::Status damaged = absl::DataLossError("checksum differs: cut or edited");
  const size_t tail = kChecksumField.size() + 16 + kEnd.size();
  if (text.size() < kStart.size() + tail) return damaged;
  const std::string_view body = text.substr(0, text.size() - tail);
  const std::string expected = absl::StrCat(Absl(kChecksumField), Checksum(body.data(), body.size()), Absl(kEnd));
  return text.substr(body.size()) == expected ? absl::OkStatus() : damaged;
}

absl::StatusOr<Manifest> Decode(std::string_view text) {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<JsonValue>();
  const std::string plain = WithBytesForEscapes(text);
  capnp::JsonCodec().decodeRaw(kj::ArrayPtr<const char>(plain.data(), plain.size()), root);
  std::string wrong;
  const Fields fields(root.asReader(), &wrong);
  if (const uint64_t format = fields.Whole("format_version"); wrong.empty() && format > Manifest::kFormat)
    return absl::FailedPreconditionError(absl::StrCat("model format is ", format, ", expected at most ", Manifest::kFormat, ": written by a newer version"));
  Manifest manifest = FromFields(fields, &wrong);
  if (!wrong.empty()) return absl::InvalidArgumentError(absl::StrCat("field '", wrong, "' is missing or of the wrong kind"));
  return manifest;
}

}   // namespace

std::string Checksum(const void* bytes, size_t size) {
  return absl::StrFormat("%016x", XXH3_64bits(bytes, size));
}

bool LooksLikeManifest(std::string_view text) {
  return text.starts_with(kStart);
}

std::string ToJson(const Manifest& m) {
  std::vector<std::string> params, columns, metrics, tables, parts;
  for (const auto& [name, value] : m.params) params.push_back(absl::StrCat(Quoted(name), ": ", Quoted(value)));
  for (const std::string& column : m.schema.columns) columns.push_back(Quoted(column));
  for (const auto& [name, value] : m.metrics)
    if (std::isfinite(value)) metrics.push_back(absl::StrCat(Quoted(name), ": ", Exact(value)));
  for (const Manifest::Table& table : m.tables)
    tables.push_back(absl::StrCat("{\"name\": ", Quoted(table.name), ", \"width\": ", table.width, ", \"rows\": ", WholeText(table.rows), "}"));
  for (const Manifest::Part& part : m.parts)
    parts.push_back(absl::StrCat("{\"name\": ", Quoted(part.name), ", \"bytes\": ", WholeText(part.bytes), ", \"checksum\": ", Quoted(part.checksum), "}"));
  std::string text(kStart);
  const auto field = [&text](std::string_view name, const std::string& value) { absl::StrAppend(&text, "  \"", Absl(name), "\": ", value, ",\n"); };
  field("format_version", absl::StrCat(Manifest::kFormat));
  field("troupe_version", Quoted(m.troupe_version));
  field("created", Quoted(m.created));
  field("algorithm", Quoted(m.algorithm));
  field("params", Joined(params, '{', '}', true));
  field("schema", absl::StrCat("{\"format\": ", Quoted(m.schema.format), ", \"label\": ", Quoted(m.schema.label),
                               ", \"columns\": ", Joined(columns, '[', ']', false), "}"));
  field("labels",
        absl::StrCat("{\"kind\": ", Quoted(LabelText(m.labels)), m.labels == LabelKind::kBinary ? ", \"mapping\": {\"-1\": 0, \"0\": 0, \"1\": 1}" : "", "}"));
  field("data", Quoted(m.data));
  field("rows", WholeText(m.rows));
  field("epochs", absl::StrCat(m.epochs));
  field("seed", WholeText(m.seed));
  field("consistency", Quoted(m.consistency));
  field("metrics", Joined(metrics, '{', '}', true));
  field("tables", Joined(tables, '[', ']', true));
  absl::StrAppend(&text, "  \"parts\": ", Joined(parts, '[', ']', true));
  return absl::StrCat(text, Absl(kChecksumField), Checksum(text.data(), text.size()), Absl(kEnd));
}

absl::StatusOr<Manifest> ParseManifest(std::string_view text) {
  if (!LooksLikeManifest(text)) return absl::InvalidArgumentError("not a model manifest");
  TROUPE_RETURN_IF_ERROR(CheckIntegrity(text));
  try {
    return Decode(text);
  } catch (const kj::Exception& exception) {   // the checksum is right, so somebody made this
    return absl::InvalidArgumentError(absl::StrCat("not JSON: ", exception.getDescription().cStr()));
  }
}

}   // namespace troupe
