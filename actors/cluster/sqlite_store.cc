#include <sqlite3.h>

#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/cluster/store.h"
#include "actors/status.h"

namespace troupe {
namespace {

constexpr int kApplication = 0x54727031;   // "Trp1": whose file it is

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(std::string path) : path_(std::move(path)) {}
  ~SqliteStore() override { sqlite3_close(db_); }

  absl::Status Open() {
    if (sqlite3_open_v2(path_.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, nullptr) != SQLITE_OK) return Error();
    sqlite3_busy_timeout(db_, 2000);
    TROUPE_TRY(const int64_t application, Number("PRAGMA application_id"));
    TROUPE_TRY(const int64_t tables, Number("SELECT count(*) FROM sqlite_master"));
    if (application != kApplication && (application != 0 || tables != 0)) {
      return absl::FailedPreconditionError(absl::StrCat(path_, ": a database of another program, expected the state of a troupe head"));
    }
    TROUPE_RETURN_IF_ERROR(CheckPages());
    TROUPE_RETURN_IF_ERROR(Execute("PRAGMA journal_mode=WAL"));
    TROUPE_RETURN_IF_ERROR(Execute("PRAGMA synchronous=FULL"));
    TROUPE_RETURN_IF_ERROR(Execute(absl::StrCat("PRAGMA application_id=", kApplication)));
    return Execute("CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID");
  }

  absl::StatusOr<std::map<std::string, std::string>> Read(const std::string& prefix) override {
    std::lock_guard lock(mutex_);
    TROUPE_TRY(const Statement select,
               Prepare("SELECT key, value FROM records WHERE substr(CAST(key AS BLOB), 1, ?1) = CAST(?2 AS BLOB)"));   // bytes, not characters
    sqlite3_bind_int64(select.get(), 1, static_cast<sqlite3_int64>(prefix.size()));
    Bind(select, 2, prefix);
    std::map<std::string, std::string> found;
    int step = 0;
    while ((step = sqlite3_step(select.get())) == SQLITE_ROW) found[Column(select, 0)] = Column(select, 1);
    if (step != SQLITE_DONE) return Error();
    return found;
  }

  absl::Status Commit(const std::string& key, const std::optional<std::string>& expected, const std::vector<Change>& changes) override {
    std::lock_guard lock(mutex_);
    TROUPE_RETURN_IF_ERROR(Execute("BEGIN IMMEDIATE"));
    absl::Status status = Apply(key, expected, changes);
    if (status.ok()) status = Execute("COMMIT");
    if (!status.ok()) Execute("ROLLBACK").IgnoreError();   // the first error is the one to tell
    return status;
  }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

  absl::Status Error() const {
    const std::string text = absl::StrCat(path_, ": ", db_ == nullptr ? "out of memory" : sqlite3_errmsg(db_));
    const int code = db_ == nullptr ? SQLITE_NOMEM : sqlite3_errcode(db_);
    if (code == SQLITE_FULL) return absl::ResourceExhaustedError(text);
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) return absl::DataLossError(text);
    return absl::InternalError(text);
  }
  absl::Status Execute(const std::string& sql) { return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK ? absl::OkStatus() : Error(); }
  absl::StatusOr<Statement> Prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) != SQLITE_OK) return Error();
    return Statement(statement);
  }
  absl::StatusOr<int64_t> Number(const char* sql) {
    TROUPE_TRY(const Statement select, Prepare(sql));
    if (sqlite3_step(select.get()) != SQLITE_ROW) return Error();
    return sqlite3_column_int64(select.get(), 0);
  }
  /// Reads everything: a file that was cut may else be read as one with fewer records.
  absl::Status CheckPages() {
    TROUPE_TRY(const Statement check, Prepare("PRAGMA quick_check(1)"));
    if (sqlite3_step(check.get()) != SQLITE_ROW) return Error();
    const std::string found = Column(check, 0);
    return found == "ok" ? absl::OkStatus() : absl::DataLossError(absl::StrCat(path_, ": ", found));
  }
  static void Bind(const Statement& statement, int at, const std::string& bytes) {
    sqlite3_bind_text(statement.get(), at, bytes.data(), static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
  }
  static std::string Column(const Statement& statement, int at) {
    const void* bytes = sqlite3_column_blob(statement.get(), at);
    return {static_cast<const char*>(bytes), static_cast<size_t>(sqlite3_column_bytes(statement.get(), at))};
  }

  absl::Status Apply(const std::string& key, const std::optional<std::string>& expected, const std::vector<Change>& changes) {
    TROUPE_TRY(const Statement select, Prepare("SELECT value FROM records WHERE key = ?1"));
    Bind(select, 1, key);
    const int step = sqlite3_step(select.get());
    if (step != SQLITE_ROW && step != SQLITE_DONE) return Error();
    const std::optional<std::string> found = step == SQLITE_ROW ? std::optional(Column(select, 0)) : std::nullopt;
    if (found != expected) return absl::AbortedError(absl::StrCat(path_, ": '", key, "' was changed by another head"));
    TROUPE_TRY(const Statement put, Prepare("INSERT INTO records VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value"));
    TROUPE_TRY(const Statement remove, Prepare("DELETE FROM records WHERE key = ?1"));
    for (const Change& change : changes) {
      const Statement& statement = change.value ? put : remove;
      sqlite3_reset(statement.get());
      Bind(statement, 1, change.key);
      if (change.value) sqlite3_bind_blob(statement.get(), 2, change.value->data(), static_cast<int>(change.value->size()), SQLITE_TRANSIENT);
      if (sqlite3_step(statement.get()) != SQLITE_DONE) return Error();
    }
    return absl::OkStatus();
  }

  const std::string path_;
  std::mutex mutex_;
  sqlite3* db_ = nullptr;
};

}   // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path) {
  auto store = std::make_unique<SqliteStore>(path);
  TROUPE_RETURN_IF_ERROR(store->Open());
  return store;
}

}   // namespace troupe
