// Storage: what every storage promises, run on each; then what is particular to the local file system, to full disks and to URIs.
#include "actors/storage/storage.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "actors/status.h"
#include "actors/storage/faulty.h"
#include "actors/text.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

/// A fresh folder, removed at the end.
struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "troupe-storage-XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

Block Of(const std::string& text) {
  return Block::Copy(text.data(), text.size());
}
std::string Text(const Block& block) {
  return std::string(reinterpret_cast<const char*>(block.data()), block.size());
}
std::string ReadText(Storage& storage, const std::string& uri) {
  const auto block = storage.Read(uri);
  return block.ok() ? Text(*block) : std::string(Message(block.status()));
}

/// Everything below a folder, temporaries included.
std::vector<std::string> Files(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) names.push_back(entry.path().lexically_relative(folder).string());
  std::sort(names.begin(), names.end());
  return names;
}
using Names = std::vector<std::string>;

/// Runs `test` on every storage, with a root for its URIs.
void OnEach(const std::function<void(Storage&, const std::string& root)>& test) {
  const Folder folder, old_kernel, by_uri;
  test(*MakeLocalStorage(), folder.path);
  test(*MakeLocalStorage(false), old_kernel.path);
  test(*MakeMemoryStorage(), "mem:root");
  const auto any = MakeStorage();
  test(*any, "file://" + by_uri.path);
  test(*any, "mem:///root");
  const auto below = MakeMemoryStorage();
  FaultyStorage faulty(below.get());
  test(faulty, "root");
}

}   // namespace

BOOST_AUTO_TEST_SUITE(StorageSuite)

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  OnEach([](Storage& storage, const std::string& root) {
    for (const bool durable : {false, true}) {
      BOOST_TEST(storage.Write(root + "/a/b/c", {Of("one "), Block(), Of("two")}, durable).ok());
      BOOST_TEST(ReadText(storage, root + "/a/b/c") == "one two");
      BOOST_TEST(storage.Write(root + "/a/b/c", {}, durable).ok());
      BOOST_TEST(ReadText(storage, root + "/a/b/c").empty());
      BOOST_TEST(storage.Write(root + "/a/b/c", {Of("new")}, durable).ok());
      BOOST_TEST(ReadText(storage, root + "/a//./b/../b/c") == "new");
      BOOST_TEST(storage.List(root + "/a/b").value() == Names{"c"}, boost::test_tools::per_element());
      BOOST_TEST(storage.Write(root + "/new" + (durable ? "1" : "2") + "/deep/file", {Of("x")}, durable).ok());
    }
  });
}

BOOST_AUTO_TEST_CASE(missing_files_and_folders_are_named) {
  OnEach([](Storage& storage, const std::string& root) {
    const std::string uri = root + "/absent";
    for (const absl::Status& status : {storage.Read(uri).status(), storage.List(uri).status(), storage.Rename(uri, root + "/b")}) {
      BOOST_TEST(absl::IsNotFound(status));
      BOOST_TEST(Message(status) == uri + ": no such file or directory");
    }
    BOOST_TEST(!storage.Exists(uri).value());
    BOOST_TEST(!storage.Exists(uri + "/below").value());
    BOOST_TEST(storage.Remove(uri).ok());
    BOOST_TEST(storage.Remove(uri + "/below").ok());
  });
}

BOOST_AUTO_TEST_CASE(a_file_is_no_folder_and_the_reverse) {
  OnEach([](Storage& storage, const std::string& root) {
    const std::string file = root + "/file", folder = root + "/folder";
    BOOST_TEST(storage.Write(file, {Of("x")}, false).ok());
    BOOST_TEST(storage.MakeFolder(folder).ok());
    const auto refused = [](const absl::Status& status, const std::string& message) {
      BOOST_TEST(absl::IsFailedPrecondition(status));
      BOOST_TEST(Message(status) == message);
    };
    refused(storage.Read(folder).status(), folder + ": is a directory");
    refused(storage.Write(folder, {}, false), folder + ": is a directory");
    refused(storage.Write(file + "/below", {}, false), file + "/below: not a directory");
    refused(storage.List(file).status(), file + ": not a directory");
    refused(storage.MakeFolder(file), file + ": not a directory");
    refused(storage.MakeFolder(file + "/below"), file + "/below: not a directory");
    refused(storage.Rename(file, folder), folder + ": is a directory");
    refused(storage.Rename(folder, file), file + ": not a directory");
    BOOST_TEST(ReadText(storage, file) == "x");
    BOOST_TEST(storage.List(root).value() == (Names{"file", "folder"}), boost::test_tools::per_element());
  });
}

BOOST_AUTO_TEST_CASE(a_folder_lists_its_own_entries_in_order) {
  OnEach([](Storage& storage, const std::string& root) {
    for (const std::string name : {"b", "a-b", "a/x/y", "c.txt", "B"}) BOOST_TEST(storage.Write(root + "/" + name, {Of(name)}, false).ok());
    BOOST_TEST(storage.MakeFolder(root + "/empty/inside").ok());
    BOOST_TEST(storage.MakeFolder(root + "/empty").ok());
    BOOST_TEST(storage.List(root).value() == (Names{"B", "a", "a-b", "b", "c.txt", "empty"}), boost::test_tools::per_element());
    BOOST_TEST(storage.List(root + "/a/").value() == Names{"x"}, boost::test_tools::per_element());
    BOOST_TEST(storage.List(root + "/empty/inside").value().empty());
    BOOST_TEST(storage.Exists(root + "/empty/inside").value());
  });
}

BOOST_AUTO_TEST_CASE(removing_takes_all_below_and_nothing_beside) {
  OnEach([](Storage& storage, const std::string& root) {
    for (const std::string name : {"a/x/y", "a/z", "a-b", "ab"}) BOOST_TEST(storage.Write(root + "/" + name, {Of(name)}, false).ok());
    BOOST_TEST(storage.Remove(root + "/a").ok());
    BOOST_TEST(storage.List(root).value() == (Names{"a-b", "ab"}), boost::test_tools::per_element());
    BOOST_TEST(storage.Remove(root + "/ab").ok());
    BOOST_TEST(!storage.Exists(root + "/ab").value());
  });
}

BOOST_AUTO_TEST_CASE(a_rename_replaces_files_and_whole_folders) {
  OnEach([](Storage& storage, const std::string& root) {
    const auto write = [&](const std::string& name) { BOOST_TEST(storage.Write(root + "/" + name, {Of(name)}, false).ok()); };
    write("new");
    write("old");
    BOOST_TEST(storage.Rename(root + "/new", root + "/old").ok());
    BOOST_TEST(ReadText(storage, root + "/old") == "new");
    write("model.next/weights");
    write("model.next/sub/part");
    write("model/weights");
    write("model/stale");
    BOOST_TEST(storage.Rename(root + "/model.next", root + "/model").ok());
    BOOST_TEST(ReadText(storage, root + "/model/weights") == "model.next/weights");
    BOOST_TEST(storage.List(root + "/model").value() == (Names{"sub", "weights"}), boost::test_tools::per_element());
    BOOST_TEST(storage.List(root).value() == (Names{"model", "old"}), boost::test_tools::per_element());
    BOOST_TEST(storage.Rename(root + "/model", root + "/model").ok());
    BOOST_TEST(storage.Rename(root + "/model", root + "/elsewhere").ok());
    BOOST_TEST(ReadText(storage, root + "/elsewhere/sub/part") == "model.next/sub/part");
    BOOST_TEST(absl::IsInvalidArgument(storage.Rename(root + "/elsewhere", root + "/elsewhere/sub/below")));
    BOOST_TEST(ExitCode(storage.Rename(root + "/elsewhere/sub", root + "/elsewhere")) == 1);
    BOOST_TEST(ExitCode(storage.Rename(root + "/elsewhere", root + "/no/such/parent")) == 1);
    BOOST_TEST(ReadText(storage, root + "/elsewhere/sub/part") == "model.next/sub/part");
  });
}

BOOST_AUTO_TEST_CASE(no_path_is_refused) {
  OnEach([](Storage& storage, const std::string&) {
    BOOST_TEST(absl::IsInvalidArgument(storage.Read("").status()));
    BOOST_TEST(absl::IsInvalidArgument(storage.Write("", {}, false)));
    BOOST_TEST(absl::IsInvalidArgument(storage.Remove("")));
  });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(LocalStorageSuite)

BOOST_AUTO_TEST_CASE(big_files_pipes_and_files_of_unknown_size_are_read_whole) {
  const Folder folder;
  const auto storage = MakeLocalStorage();
  std::string big(3 << 20, 'x');
  for (size_t i = 0; i < big.size(); i += 997) big[i] = static_cast<char>('a' + i % 26);
  BOOST_TEST(storage->Write(folder / "big", {Of(big)}, false).ok());
  BOOST_TEST((ReadText(*storage, folder / "big") == big));
  BOOST_TEST(ReadText(*storage, "/proc/self/status").find("Name:") == 0u);   // its size is said to be 0
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_the_old_file_and_no_temporary) {
  const Folder folder;
  const auto storage = MakeLocalStorage();
  BOOST_TEST(storage->Write(folder / "model", {Of("old")}, true).ok());
  // A limit on the size of files is the disk that a test can fill: writes come back short, then fail.
  struct rlimit before {};
  BOOST_REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 5000, before.rlim_max };
  BOOST_REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const absl::Status replaced = storage->Write(folder / "model", {Of(std::string(4000, 'x')), Of(std::string(4000, 'y'))}, true);
  const absl::Status made = storage->Write(folder / "a/b/new", {Of(std::string(8000, 'x'))}, false);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  BOOST_TEST(absl::IsResourceExhausted(replaced));
  BOOST_TEST(Message(replaced) == folder / "model: file too large");
  BOOST_TEST(absl::IsResourceExhausted(made));
  BOOST_TEST(ReadText(*storage, folder / "model") == "old");
  BOOST_TEST(Files(folder.path) == Names{"model"}, boost::test_tools::per_element());   // the folders made on the way are gone, too
}

/// The last room of a disk is for those whose files fit.
BOOST_AUTO_TEST_CASE(more_than_is_free_is_refused_before_it_takes_anything) {
  const Folder folder;
  const auto storage = MakeLocalStorage();
  constexpr size_t kPiece = 16 << 20;
  const Block piece = Block::Adopt(std::vector<char>(kPiece));   // one, many times
  const std::vector<Block> pieces(fs::space(folder.path).capacity / kPiece + 1, piece);
  const std::string file = folder / "file";
  const absl::Status status = storage->Write(file, pieces, true);
  BOOST_TEST(absl::IsResourceExhausted(status));
  BOOST_TEST(std::string(Message(status)) == file + ": no space left on device");
  BOOST_TEST(Files(folder.path) == Names{}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_device_is_written_into_and_stays_a_device) {
  const auto storage = MakeLocalStorage();
  BOOST_TEST(storage->Write("/dev/null", {Of("x")}, true).ok());
  struct stat info {};
  BOOST_TEST((stat("/dev/null", &info) == 0 && S_ISCHR(info.st_mode)));
  if (!fs::exists("/dev/full")) return;
  const absl::Status full = storage->Write("/dev/full", {Of("x")}, false);
  BOOST_TEST(absl::IsResourceExhausted(full));
  BOOST_TEST(Message(full) == "/dev/full: no space left on device");
  BOOST_TEST(ExitCode(full) == 1);
}

BOOST_AUTO_TEST_CASE(links_and_modes_survive_a_write) {
  const Folder folder;
  const auto storage = MakeLocalStorage();
  fs::create_directory(folder / "there");
  BOOST_TEST(storage->Write(folder / "there/file", {Of("old")}, false).ok());
  fs::permissions(folder / "there/file", fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("there/file", folder / "link");
  BOOST_TEST(storage->Write(folder / "link", {Of("new")}, false).ok());
  BOOST_TEST(fs::is_symlink(folder / "link"));
  BOOST_TEST(ReadText(*storage, folder / "there/file") == "new");
  BOOST_TEST((fs::status(folder / "there/file").permissions() == (fs::perms::owner_read | fs::perms::owner_write)));
  BOOST_TEST(Files(folder.path) == (Names{"link", "there", "there/file"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_a_killed_process_left_is_neither_shown_nor_in_the_way) {
  for (const bool exchange : {true, false}) {
    const Folder folder;
    for (int i = 0; i < 3; ++i) std::ofstream(folder / absl::StrCat(".troupe-tmp-", getpid(), "-", i)) << "half";
    const auto storage = MakeLocalStorage(exchange);
    BOOST_TEST(storage->Write(folder / "file", {Of("whole")}, false).ok());
    BOOST_TEST(ReadText(*storage, folder / "file") == "whole");
    BOOST_TEST(storage->List(folder.path).value() == Names{"file"}, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_process_that_is_killed_while_it_writes_leaves_nothing) {
  const Folder folder;
  if (const int fd = open(folder.path.c_str(), O_WRONLY | O_TMPFILE, 0600); fd < 0)
    return;   // a file system that cannot
  else
    close(fd);
  BOOST_TEST(MakeLocalStorage()->Write(folder / "file", {Of("old")}, false).ok());
  const pid_t child = fork();
  if (child == 0) {
    const struct rlimit small { 5000, 5000 }, none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    std::signal(SIGXFSZ, SIG_DFL);   // kills it in the middle of the file
    setrlimit(RLIMIT_FSIZE, &small);
    (void)MakeLocalStorage()->Write(folder / "file", {Of(std::string(4000, 'x')), Of(std::string(4000, 'y'))}, true);
    _exit(0);
  }
  int status = 0;
  BOOST_REQUIRE(waitpid(child, &status, 0) == child);
  BOOST_TEST((WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ));
  BOOST_TEST(Files(folder.path) == Names{"file"}, boost::test_tools::per_element());
  BOOST_TEST(ReadText(*MakeLocalStorage(), folder / "file") == "old");
}

BOOST_AUTO_TEST_CASE(a_folder_is_replaced_in_one_step_or_two_and_nothing_stays_beside) {
  for (const bool exchange : {true, false}) {
    const Folder folder;
    const auto storage = MakeLocalStorage(exchange);
    for (const std::string name : {"model", "next"}) BOOST_TEST(storage->Write(folder / (name + "/weights"), {Of(name)}, false).ok());
    BOOST_TEST(storage->Rename(folder / "next", folder / "model").ok());
    BOOST_TEST(Files(folder.path) == (Names{"model", "model/weights"}), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(paths_that_cannot_be_are_refused) {
  const Folder folder;
  const auto storage = MakeLocalStorage();
  const std::string name(300, 'n');
  BOOST_TEST(absl::IsInvalidArgument(storage->Write(folder / name, {}, false)));
  BOOST_TEST(Message(storage->Read(folder / name).status()) == folder / name + ": file name too long");
  BOOST_TEST(ExitCode(storage->Write("/proc/troupe/file", {}, false)) == 1);   // nobody can make that
  BOOST_TEST(absl::IsInvalidArgument(storage->Read(std::string("a\0b", 3)).status()));
  if (geteuid() == 0) return;   // who may do everything cannot be refused
  fs::permissions(folder.path, fs::perms::none);
  BOOST_TEST(absl::IsPermissionDenied(storage->Read(folder / "file").status()));
  BOOST_TEST(absl::IsPermissionDenied(storage->Exists(folder / "file").status()));
  BOOST_TEST(ExitCode(storage->Write(folder / "file", {}, false)) == 1);
  fs::permissions(folder.path, fs::perms::owner_all);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(FullDisks)

BOOST_AUTO_TEST_CASE(memory_is_full_beyond_its_limit_and_changes_nothing) {
  const auto storage = MakeMemoryStorage(10);
  BOOST_TEST(storage->Write("a", {Of("12345")}, false).ok());
  BOOST_TEST(storage->Write("a", {Of("abcde")}, false).ok());   // old and new together just fit
  const absl::Status full = storage->Write("mem:x/a", {Of("123456")}, false);
  BOOST_TEST(absl::IsResourceExhausted(full));
  BOOST_TEST(Message(full) == "mem:x/a: no space left on device");
  BOOST_TEST(!storage->Exists("x").value());
  BOOST_TEST(ReadText(*storage, "a") == "abcde");
  BOOST_TEST(storage->Write("b/c", {Of("12345")}, false).ok());
  BOOST_TEST(storage->Rename("b", "d").ok());
  BOOST_TEST(absl::IsResourceExhausted(storage->Write("e", {Of("1")}, false)));
  BOOST_TEST(storage->Remove("d").ok());
  BOOST_TEST(storage->Write("e", {Of("12345")}, false).ok());
}

BOOST_AUTO_TEST_CASE(a_faulty_storage_fails_after_its_bytes_and_heals) {
  const auto below = MakeMemoryStorage();
  FaultyStorage storage(below.get());
  storage.FullAfter(6);
  BOOST_TEST(storage.Write("a", {Of("1234")}, false).ok());
  const absl::Status full = storage.Write("b", {Of("12"), Of("3")}, false);
  BOOST_TEST(absl::IsResourceExhausted(full));
  BOOST_TEST(Message(full) == "b: no space left on device");
  BOOST_TEST(!storage.Exists("b").value());
  BOOST_TEST(storage.Write("b", {Of("12")}, false).ok());
  BOOST_TEST(absl::IsResourceExhausted(storage.Write("c", {Of("1")}, false)));
  storage.Heal();
  BOOST_TEST(storage.Write("c", {Of("123456789")}, false).ok());
}

BOOST_AUTO_TEST_CASE(a_faulty_storage_fails_the_change_it_is_told_to) {
  const auto below = MakeMemoryStorage();
  FaultyStorage storage(below.get());
  const auto job = [&]() -> absl::Status {
    TROUPE_RETURN_IF_ERROR(storage.MakeFolder("next"));
    TROUPE_RETURN_IF_ERROR(storage.Write("next/file", {Of("x")}, false));
    return storage.Rename("next", "model");
  };
  BOOST_TEST(job().ok());
  BOOST_TEST(storage.changes() == 3u);
  for (uint64_t n = 1; n <= 3; ++n) {
    BOOST_TEST((storage.Remove("model").ok() && storage.Remove("next").ok()));
    storage.FailChange(n);
    BOOST_TEST(absl::IsResourceExhausted(job()));
    BOOST_TEST(!storage.Exists("model").value());
    BOOST_TEST(storage.Exists("next").value() == (n > 1));
    BOOST_TEST(job().ok());   // only the n-th
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(Uris)

BOOST_AUTO_TEST_CASE(local_paths_are_taken_from_their_uris) {
  for (const auto& [uri, path] : std::vector<std::pair<std::string, std::string>>{
           {"a/b", "a/b"}, {"/a/b", "/a/b"}, {"file:a/b", "a/b"}, {"file:/a/b", "/a/b"}, {"file:///a/b", "/a/b"}, {"./a:b", "./a:b"}, {"2024:x", "2024:x"}}) {
    BOOST_TEST(LocalPath(uri).value() == path);
  }
}

BOOST_AUTO_TEST_CASE(other_uris_are_refused_with_what_is_known) {
  BOOST_TEST(Message(LocalPath("mem:a").status()) == "mem:a: unknown scheme 'mem'; known: file");
  BOOST_TEST(Message(LocalPath("file:").status()) == "'file:': no path, expected one");
  BOOST_TEST(Message(LocalPath("file://").status()) == "file://: expected file:PATH or file:///PATH");
  BOOST_TEST(Message(LocalPath("file://host/a").status()) == "file://host/a: expected file:PATH or file:///PATH");
  const auto storage = MakeStorage();
  const std::string uri = "http://bucket/a";
  for (const absl::Status& status : {storage->Read(uri).status(), storage->Write(uri, {}, false), storage->List(uri).status(), storage->Exists(uri).status(),
                                     storage->Remove(uri), storage->Rename(uri, "mem:a"), storage->Rename("mem:a", uri), storage->MakeFolder(uri)}) {
    BOOST_TEST(absl::IsInvalidArgument(status));
    BOOST_TEST(Message(status) == "http://bucket/a: unknown scheme 'http'; known: file, mem, s3");
  }
  BOOST_TEST(Message(storage->Read("fil:a").status()) == "fil:a: unknown scheme 'fil'; did you mean 'file'?");
  BOOST_TEST(Message(storage->Rename("mem:a", "b")) == "b: not in the storage of mem:a, expected the same scheme");
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
