#include "tests/layers/includes.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

namespace troupe::layers {
namespace {

// actors <- {ps, dataflow} <- algorithms <- {tools, examples, tests}; ps and dataflow do not see each other.
const std::map<std::string_view, std::set<std::string_view>>& MayInclude() {
  static const std::map<std::string_view, std::set<std::string_view>> rules = {
      {"actors", {"actors"}},
      {"ps", {"actors", "ps"}},
      {"dataflow", {"actors", "dataflow"}},
      {"algorithms", {"actors", "ps", "dataflow", "algorithms"}},
      {"tools", {"actors", "ps", "dataflow", "algorithms", "tools"}},
      {"examples", {"actors", "ps", "dataflow", "algorithms", "examples"}},
      {"tests", {"actors", "ps", "dataflow", "algorithms", "tools", "examples", "tests"}},
  };
  return rules;
}

std::string_view FirstFolder(std::string_view path) {
  const auto slash = path.find('/');
  return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

std::string_view FileName(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool MayUseCaf(std::string_view path) {
  return path.starts_with("actors/") || path.starts_with("tests/") || Contains(FileName(path), "_actor.") || Contains(path, "_actor/") ||
         FileName(path) == "messages.h" || path.starts_with("ps/client.");
}

bool MayUseArrow(std::string_view path) {
  return path.starts_with("dataflow/arrow/") || path.starts_with("actors/storage/") || path.starts_with("tests/");
}

// The codecs of messages, what speaks RPC (rpc_network and what is internal to actors/), and those that read or write JSON.
bool MayUseCapnp(std::string_view path) {
  const auto name = FileName(path);
  return name.starts_with("wire") || name.starts_with("rpc_") || name.starts_with("json.") || path.starts_with("actors/internal/") ||
         path == "algorithms/manifest.cc" || path.starts_with("tools/") || path.starts_with("tests/");
}

bool MayUseRocksDb(std::string_view path) {
  return path == "ps/rocksdb/rocks_tier.cc";
}

bool MayUseOpenSsl(std::string_view path) {
  return path == "actors/internal/tls.cc" || path == "actors/internal/openssl.h" || path == "actors/certificates.cc" || path == "actors/bench_bare.cc" ||
         path.starts_with("tests/");
}

/// The target of `#include "x"`, `#include <x>` or, in a schema, `import "/x"`; nothing for any other line.
struct Include {
  std::string target;
  bool quoted;
};
std::optional<Include> ParseInclude(std::string_view line, bool is_schema) {
  if (is_schema) {
    const auto at = line.find("import \"/");
    if (at == std::string_view::npos || line.substr(0, at).find('#') != std::string_view::npos) return std::nullopt;
    const auto rest = line.substr(at + 9);
    return Include{std::string(rest.substr(0, rest.find('"'))), false};
  }
  const auto skip_blanks = [&line] { line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size())); };
  skip_blanks();
  if (!line.starts_with('#')) return std::nullopt;
  line.remove_prefix(1);
  skip_blanks();
  if (!line.starts_with("include")) return std::nullopt;
  line.remove_prefix(7);
  skip_blanks();
  if (!line.starts_with('"') && !line.starts_with('<')) return std::nullopt;
  const bool quoted = line.front() == '"';
  line.remove_prefix(1);
  return Include{std::string(line.substr(0, line.find(quoted ? '"' : '>'))), quoted};
}

/// Why `path` must not include `target`, or nothing.
std::optional<std::string> Refusal(std::string_view path, const Include& include) {
  const std::string_view target = include.target;
  const auto from = FirstFolder(path);
  const auto to = FirstFolder(target);
  const auto rule = MayInclude().find(from);
  if (rule == MayInclude().end()) return "lies in no layer";
  if (include.quoted && to.empty()) return "is not included by its full path";
  const bool ours = MayInclude().contains(to);
  if (ours && !rule->second.contains(to)) return std::string(from) + "/ must not know " + std::string(to) + "/";
  if (ours && Contains(target, "/internal/") && from != to && from != "tests") return "is internal to " + std::string(to) + "/";
  if (to == "caf" && !MayUseCaf(path)) return "CAF stays in actors/, *_actor.*, *_actor/, messages.h and ps/client.*";
  if ((to == "arrow" || to == "parquet") && !MayUseArrow(path)) return "Arrow stays in dataflow/arrow/ and actors/storage/";
  if (to == "rocksdb" && !MayUseRocksDb(path)) return "RocksDB stays in ps/rocksdb/rocks_tier.cc";
  if (to == "openssl" && !MayUseOpenSsl(path)) return "OpenSSL stays in actors/internal/{tls.cc,openssl.h}, certificates.cc and bench_bare.cc";
  const bool capnp = to == "capnp" || to == "kj" || target.ends_with(".capnp.h");
  if (capnp && !path.ends_with(".capnp") && !MayUseCapnp(path)) return "Cap'n Proto and KJ stay in wire*, rpc_*, json.*, actors/internal/ and tools/";
  return std::nullopt;
}

/// Calls visit(line number from 1, line) for each line.
template <class Visit>
void EachLine(std::string_view text, const Visit& visit) {
  for (int number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    visit(number, text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}   // namespace

std::vector<std::string> Violations(std::string_view path, std::string_view text) {
  std::vector<std::string> found;
  const std::string place(path);
  for (const std::string_view word : {"utils", "helpers", "common", "misc"}) {
    if (Contains(FileName(path), word)) found.push_back(place + ":1: a file is named after its concept, not *" + std::string(word) + "*");
  }
  const bool is_schema = path.ends_with(".capnp");
  EachLine(text, [&](int number, std::string_view line) {
    const auto include = ParseInclude(line, is_schema);
    if (!include) return;
    if (const auto why = Refusal(path, *include)) found.push_back(place + ":" + std::to_string(number) + ": " + include->target + ": " + *why);
  });
  return found;
}

std::string OwnHeaderViolation(std::string_view path, std::string_view text) {
  const std::string header = std::string(path.substr(0, path.rfind('.'))) + ".h";
  std::string first;
  EachLine(text, [&](int, std::string_view line) {
    const auto include = ParseInclude(line, false);
    if (include && first.empty()) first = include->target;
  });
  return first == header ? "" : std::string(path) + ":1: its first include must be its own header " + header + ", which shows that the header compiles alone";
}

}   // namespace troupe::layers
