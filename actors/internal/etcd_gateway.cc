// Requests as JSON text (all that they hold is numbers and base64), replies read by Cap'n Proto's JSON codec.
#include "actors/internal/etcd_gateway.h"

#include <capnp/compat/json.h>
#include <capnp/message.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/internal/http_post.h"
#include "actors/internal/kj_error.h"
#include "actors/status.h"

namespace troupe {
namespace {

using Json = capnp::json::Value::Reader;

constexpr size_t kOperationsMax = 60;   // of one level: 128, less those of the level above

std::string Base64(std::string_view bytes) {
  return absl::Base64Escape(absl::string_view(bytes.data(), bytes.size()));
}

/// The member `name` of an object; nothing: it has none, or is none.
std::optional<Json> Member(Json value, std::string_view name) {
  if (!value.isObject()) return std::nullopt;
  for (const auto field : value.getObject()) {
    if (std::string_view(field.getName().cStr(), field.getName().size()) == name) return field.getValue();
  }
  return std::nullopt;
}
/// 64-bit numbers are strings, and 0 is left out.
int64_t Integer(Json value, std::string_view name) {
  const std::optional<Json> member = Member(value, name);
  int64_t number = 0;
  if (member && member->isString() && !absl::SimpleAtoi(member->getString().cStr(), &number)) return 0;
  if (member && member->isNumber()) number = static_cast<int64_t>(member->getNumber());
  return number;
}
std::string Text(Json value, std::string_view name) {
  const std::optional<Json> member = Member(value, name);
  return member && member->isString() ? std::string(member->getString().cStr(), member->getString().size()) : std::string();
}
std::string Bytes(Json value, std::string_view name) {
  std::string bytes;
  if (!absl::Base64Unescape(Text(value, name), &bytes)) bytes.clear();
  return bytes;
}
bool True(Json value, std::string_view name) {
  const std::optional<Json> member = Member(value, name);
  return member && member->isBoolean() && member->getBoolean();
}

EtcdRecord RecordOf(Json value) {
  return {Bytes(value, "key"), Bytes(value, "value"), Integer(value, "create_revision"), Integer(value, "version"), Integer(value, "lease")};
}
std::vector<EtcdRecord> RecordsOf(Json range) {
  std::vector<EtcdRecord> records;
  const std::optional<Json> found = Member(range, "kvs");
  if (!found || !found->isArray()) return records;
  for (const auto one : found->getArray()) records.push_back(RecordOf(one));
  return records;
}

/// Gives `read` the text as a value. Internal: it is no JSON.
template <class Read>
auto WithJson(const std::string& text, Read&& read) -> absl::StatusOr<decltype(read(Json()))> {
  try {
    capnp::MallocMessageBuilder message;
    const auto root = message.initRoot<capnp::json::Value>();
    capnp::JsonCodec().decodeRaw(kj::ArrayPtr<const char>(text.data(), text.size()), root);
    return read(root.asReader());
  } catch (const kj::Exception& error) {
    return absl::InternalError(absl::StrCat("etcd: a reply that is no JSON: ", Describe(error)));
  }
}

std::vector<std::string> Compares(const EtcdCondition& condition) {
  const std::string key = absl::StrCat("{\"key\":\"", Base64(condition.key), "\",\"result\":\"EQUAL\",\"target\":");
  std::vector<std::string> all;
  if (condition.value) all.push_back(absl::StrCat(key, "\"VALUE\",\"value\":\"", Base64(*condition.value), "\"}"));
  if (condition.create_revision) all.push_back(absl::StrCat(key, "\"CREATE\",\"create_revision\":\"", *condition.create_revision, "\"}"));
  if (condition.version) all.push_back(absl::StrCat(key, "\"VERSION\",\"version\":\"", *condition.version, "\"}"));
  return all;
}
std::string Operation(const EtcdChange& change) {
  const std::string key = absl::StrCat("\"key\":\"", Base64(change.key), "\"");
  switch (change.kind) {
    case EtcdChange::Kind::kDelete:
      return absl::StrCat("{\"request_delete_range\":{", key, "}}");
    case EtcdChange::Kind::kTouch:
      return absl::StrCat("{\"request_put\":{", key, ",\"ignore_value\":true,\"ignore_lease\":true}}");
    case EtcdChange::Kind::kPut:
      break;
  }
  return absl::StrCat("{\"request_put\":{", key, ",\"value\":\"", Base64(change.value), "\",\"lease\":\"", change.lease, "\"}}");
}
/// Many as transactions within the transaction, which happen with it.
std::string Operations(const std::vector<EtcdChange>& changes) {
  std::vector<std::string> all;
  for (const EtcdChange& change : changes) all.push_back(Operation(change));
  if (all.size() <= kOperationsMax) return absl::StrJoin(all, ",");
  std::vector<std::string> groups;
  for (size_t i = 0; i < all.size(); i += kOperationsMax) {
    const auto end = all.begin() + static_cast<ptrdiff_t>(std::min(i + kOperationsMax, all.size()));
    groups.push_back(absl::StrCat("{\"request_txn\":{\"success\":[", absl::StrJoin(all.begin() + static_cast<ptrdiff_t>(i), end, ","), "]}}"));
  }
  return absl::StrJoin(groups, ",");
}

/// gRPC's codes are Abseil's. Those that say that another endpoint, or a later moment, may do better become Unavailable.
absl::Status ErrorOf(const std::string& endpoint, const HttpReply& reply) {
  std::string said;
  auto code = absl::StatusCode::kInternal;
  const auto read = WithJson(reply.body, [&](Json value) {
    said = Text(value, "error");
    if (const int64_t number = Integer(value, "code"); number > 0 && number <= 16) code = static_cast<absl::StatusCode>(number);
    return true;
  });
  if (!read.ok() || said.empty()) said = absl::StrCat("HTTP status ", reply.code);
  for (char& letter : said) {
    if (letter == '\n') letter = ' ';
  }
  if (code == absl::StatusCode::kCancelled || code == absl::StatusCode::kUnknown || code == absl::StatusCode::kDeadlineExceeded) {
    code = absl::StatusCode::kUnavailable;   // "etcdserver: request timed out" comes as Unknown too
  }
  return absl::Status(code, absl::StrCat("etcd at ", endpoint, ": ", said));
}

}   // namespace

std::string EndOfPrefix(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (prefix.empty()) return std::string(1, '\0');
  prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

EtcdGateway::EtcdGateway(std::vector<std::string> endpoints, std::chrono::milliseconds time_max) : endpoints_(std::move(endpoints)), time_max_(time_max) {}

absl::StatusOr<std::string> EtcdGateway::Call(const std::string& path, const std::string& body) {
  const size_t first = latest_;
  absl::Status status;
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    const size_t at = (first + i) % endpoints_.size();
    absl::StatusOr<HttpReply> reply = HttpPost(endpoints_[at], "/v3/" + path, body, time_max_);
    if (reply.ok() && reply->code == 200) {
      latest_ = at;
      return std::move(reply->body);
    }
    const absl::Status why =
        reply.ok() ? ErrorOf(endpoints_[at], *reply) : absl::Status(reply.status().code(), absl::StrCat("etcd at ", reply.status().message()));
    if (!absl::IsUnavailable(why) && !absl::IsDeadlineExceeded(why)) return why;
    status = status.ok() ? why : absl::Status(why.code(), absl::StrCat(status.message(), "; ", why.message()));
  }
  return status;
}

absl::StatusOr<std::vector<EtcdRecord>> EtcdGateway::Range(const std::string& first, const std::string& end) {
  TROUPE_TRY(const std::string reply, Call("kv/range", absl::StrCat("{\"key\":\"", Base64(first), "\",\"range_end\":\"", Base64(end), "\"}")));
  return WithJson(reply, RecordsOf);
}

absl::StatusOr<EtcdTransacted> EtcdGateway::Transact(const EtcdTransaction& transaction) {
  if (transaction.changes.size() > kEtcdChangesMax) {
    return absl::ResourceExhaustedError(absl::StrCat("etcd: ", transaction.changes.size(), " changes at once, at most ", kEtcdChangesMax));
  }
  std::vector<std::string> compares;
  for (const EtcdCondition& condition : transaction.conditions) {
    for (std::string& one : Compares(condition)) compares.push_back(std::move(one));
  }
  std::string body = absl::StrCat("{\"compare\":[", absl::StrJoin(compares, ","), "],\"success\":[", Operations(transaction.changes), "]");
  if (!transaction.otherwise.empty()) absl::StrAppend(&body, ",\"failure\":[{\"request_range\":{\"key\":\"", Base64(transaction.otherwise), "\"}}]");
  TROUPE_TRY(const std::string reply, Call("kv/txn", body + "}"));
  return WithJson(reply, [](Json value) {
    EtcdTransacted transacted{.done = True(value, "succeeded"), .found = std::nullopt};
    const std::optional<Json> responses = Member(value, "responses");
    if (transacted.done || !responses || !responses->isArray() || responses->getArray().size() == 0) return transacted;
    if (const auto range = Member(responses->getArray()[0], "response_range")) {
      std::vector<EtcdRecord> found = RecordsOf(*range);
      if (!found.empty()) transacted.found = std::move(found.front());
    }
    return transacted;
  });
}

absl::StatusOr<int64_t> EtcdGateway::Grant(int64_t seconds) {
  TROUPE_TRY(const std::string reply, Call("lease/grant", absl::StrCat("{\"TTL\":\"", seconds, "\"}")));
  TROUPE_TRY(const int64_t lease, WithJson(reply, [](Json value) { return Integer(value, "ID"); }));
  if (lease == 0) return absl::InternalError("etcd: a lease without a number");
  return lease;
}

absl::Status EtcdGateway::KeepAlive(int64_t lease) {
  TROUPE_TRY(const std::string reply, Call("lease/keepalive", absl::StrCat("{\"ID\":\"", lease, "\"}")));
  TROUPE_TRY(const int64_t seconds, WithJson(reply, [](Json value) {
               const std::optional<Json> result = Member(value, "result");
               return result ? Integer(*result, "TTL") : 0;
             }));
  return seconds > 0 ? absl::OkStatus() : absl::NotFoundError("etcd: the lease is over");
}

absl::Status EtcdGateway::Revoke(int64_t lease) {
  return Call("lease/revoke", absl::StrCat("{\"ID\":\"", lease, "\"}")).status();
}

}   // namespace troupe
