// Runs one LLVMFuzzerTestOneInput on its corpus, then on seeded mutations of it, for a bounded time. Needs no clang; under ASan it finds what libFuzzer
// without coverage would. A child process does the work and keeps the current input in shared memory, so that the parent can save it whatever killed the child.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using namespace std::string_view_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kInputBytesMax = 1 << 16;
constexpr long kResidentKibMax = 2L << 20;   // an input that makes the target hold more than 2 GiB is a finding

struct Options {
  double seconds = 3;
  std::uint64_t runs_max = UINT64_MAX;
  std::uint64_t seed = 1;
  double input_seconds_max = 10;
  std::string corpus, findings = ".";
  std::vector<std::string> files;   // given: run only these, to see a finding again
};

/// What parent and child share. Invariant: bytes[0, size) is the input of execution number `executions`.
struct Shared {
  std::atomic<std::uint64_t> executions;
  std::atomic<std::size_t> size;
  std::uint8_t bytes[kInputBytesMax];
};

// What parsers trip over: numbers at the edge of their type, delimiters, quotes, line ends, cut encodings, magic numbers.
constexpr std::array kTokens = {"0"sv,
                                "-1"sv,
                                "1e999"sv,
                                "-1e-999"sv,
                                "nan"sv,
                                "-inf"sv,
                                "0x1p3"sv,
                                "18446744073709551615"sv,
                                "18446744073709551616"sv,
                                "9223372036854775808"sv,
                                "4294967296:1"sv,
                                "0:1"sv,
                                "1:"sv,
                                ":1"sv,
                                " "sv,
                                "\t"sv,
                                "\n"sv,
                                "\r\n"sv,
                                "\r"sv,
                                "\n\n"sv,
                                ","sv,
                                ",,"sv,
                                ":"sv,
                                ";"sv,
                                "#"sv,
                                "="sv,
                                "\""sv,
                                "\"\""sv,
                                "'"sv,
                                "\\"sv,
                                "/"sv,
                                "//"sv,
                                "../"sv,
                                "{"sv,
                                "}"sv,
                                "[[[["sv,
                                "]"sv,
                                "{\"a\":"sv,
                                "null"sv,
                                "true"sv,
                                "\0"sv,
                                "\0\0\0\0"sv,
                                "\xff\xff\xff\xff"sv,
                                "\x7f\xff\xff\xff"sv,
                                "\x80\0\0\0"sv,
                                "\1\0\0\0"sv,
                                "\xff"sv,
                                "\xc3"sv,
                                "\xe9"sv,
                                "\xef\xbb\xbf"sv,
                                "\x1f\x8b\x08"sv,
                                "\x28\xb5\x2f\xfd"sv,
                                "PAR1"sv,
                                "bsp"sv,
                                "ssp:2"sv,
                                "256M"sv};

// Where there is no corpus: one small valid text of each kind that the project reads, and some bytes.
const std::vector<std::string> kBuiltInSeeds = {"",
                                                "1 1:1 2:0.5\n-1 3:1\n",
                                                "label,a,b\n1,2,0.5\n0,\"3\",4\n",
                                                "{\"a\": [1, 2.5, \"x\"], \"b\": {}}",
                                                "key = 1\n[part]\nname = \"x\"\n",
                                                std::string(64, '\0'),
                                                std::string("\0\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0", 24)};

class Mutator {
 public:
  Mutator(std::vector<std::string> seeds, std::uint64_t seed) : seeds_(std::move(seeds)), random_(seed) {}

  /// One of the seeds after 1-8 edits. The same seed and the same corpus give the same sequence of inputs.
  std::string Next() {
    std::string input = seeds_[Below(seeds_.size())];
    for (auto edits = 1 + Below(8); edits > 0; --edits) Edit(input);
    if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
    return input;
  }

 private:
  std::size_t Below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random_() % n); }
  char Byte() { return static_cast<char>(random_() & 0xff); }

  void Edit(std::string& input) {
    const auto at = Below(input.size() + 1);
    const auto length = std::min(1 + Below(16), input.size() - at);
    const auto& other = seeds_[Below(seeds_.size())];
    const auto from = Below(other.size() + 1);
    switch (Below(9)) {
      case 0:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << Below(8)));
        break;
      case 1:
        if (at < input.size()) input[at] = Byte();
        break;
      case 2:
        input.resize(at);
        break;
      case 3:
        input.erase(at, length);
        break;
      case 4:
        input.insert(at, input.substr(at, length));
        break;
      case 5:
        input.insert(at, kTokens[Below(kTokens.size())]);
        break;
      case 6:
        input.replace(at, length, kTokens[Below(kTokens.size())]);
        break;
      case 7:
        input.replace(at, std::string::npos, other, from, std::string::npos);
        break;
      default:
        input.insert(at, 1 + Below(64), Below(2) == 0 ? Byte() : '0');
        break;
    }
  }

  std::vector<std::string> seeds_;
  std::mt19937_64 random_;
};

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "%s: cannot be read\n", path.c_str());
    std::exit(2);
  }
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The corpus in the order of its file names, so that a seed means the same everywhere.
std::vector<std::string> ReadCorpus(const std::string& folder) {
  std::vector<std::filesystem::path> paths;
  if (!folder.empty() && std::filesystem::is_directory(folder)) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file()) paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> inputs;
  for (const auto& path : paths) inputs.push_back(ReadFile(path));
  return inputs;
}

void RunOne(Shared& shared, std::string_view input) {
  input = input.substr(0, kInputBytesMax);
  std::memcpy(shared.bytes, input.data(), input.size());
  shared.size = input.size();
  ++shared.executions;
  const std::vector<std::uint8_t> exact(input.begin(), input.end());   // a heap block of its own: ASan sees one byte read too many
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  if (usage.ru_maxrss > kResidentKibMax) {
    std::fprintf(stderr, "more than %ld MiB resident\n", kResidentKibMax >> 10);
    std::abort();
  }
}

/// The child: everything until time or runs are used up.
void RunAll(Shared& shared, const Options& options) {
  if (!options.files.empty()) {
    for (const auto& file : options.files) RunOne(shared, ReadFile(file));
    return;
  }
  auto inputs = ReadCorpus(options.corpus);
  if (inputs.empty()) inputs = kBuiltInSeeds;
  for (const auto& input : inputs) RunOne(shared, input);
  Mutator mutator(std::move(inputs), options.seed);
  const auto end = Clock::now() + std::chrono::duration<double>(options.seconds);
  while (shared.executions < options.runs_max && Clock::now() < end) RunOne(shared, mutator.Next());
}

/// The parent: waits for the child and kills it when one input takes too long. Returns "" if all went well, else what happened.
std::string Watch(pid_t child, const Shared& shared, double input_seconds_max) {
  auto last_executions = shared.executions.load();
  auto last_change = Clock::now();
  while (true) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) {
      if (WIFSIGNALED(status)) return std::string("signal ") + strsignal(WTERMSIG(status));
      return WEXITSTATUS(status) == 0 ? "" : "exit code " + std::to_string(WEXITSTATUS(status));
    }
    const auto now = Clock::now();
    if (shared.executions != last_executions) {
      last_executions = shared.executions;
      last_change = now;
    } else if (now - last_change > std::chrono::duration<double>(input_seconds_max)) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return "no end after " + std::to_string(static_cast<int>(input_seconds_max)) + " s";
    }
    usleep(5000);
  }
}

std::string SaveFinding(const Shared& shared, const Options& options, const std::string& name) {
  const auto path = options.findings + "/" + name + "-seed" + std::to_string(options.seed) + "-run" + std::to_string(shared.executions.load()) + ".input";
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(shared.bytes), static_cast<std::streamsize>(shared.size.load()));
  return path;
}

const char* Environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

Options ParseOptions(int argc, char** argv) {
  Options options;
  options.seconds = std::strtod(Environment("TROUPE_FUZZ_SECONDS", "3"), nullptr);
  options.seed = std::strtoull(Environment("TROUPE_FUZZ_SEED", "1"), nullptr, 10);
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (!name.starts_with("--")) {
      options.files.emplace_back(name);
      continue;
    }
    ++i;
    if (name == "--seconds")
      options.seconds = std::strtod(value, nullptr);
    else if (name == "--runs")
      options.runs_max = std::strtoull(value, nullptr, 10);
    else if (name == "--seed")
      options.seed = std::strtoull(value, nullptr, 10);
    else if (name == "--input-seconds")
      options.input_seconds_max = std::strtod(value, nullptr);
    else if (name == "--corpus")
      options.corpus = value;
    else if (name == "--findings")
      options.findings = value;
    else {
      std::fprintf(stderr, "usage: %s [--seconds S] [--runs N] [--seed N] [--input-seconds S] [--corpus FOLDER] [--findings FOLDER] [FILE...]\n", argv[0]);
      std::exit(2);
    }
  }
  return options;
}

}   // namespace

int main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  const std::string name = std::filesystem::path(argv[0]).filename().string();
  auto* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("mmap");
    return 1;
  }
  auto& shared = *new (memory) Shared{};
  const auto start = Clock::now();
  const pid_t child = fork();   // before any thread exists
  if (child == 0) {
    RunAll(shared, options);
    std::exit(0);   // with exit handlers: this is when LeakSanitizer looks
  }
  if (child < 0) {
    std::perror("fork");
    return 1;
  }
  const auto failure = Watch(child, shared, options.input_seconds_max);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf("%s: %llu executions in %.1f s, seed %llu\n", name.c_str(), static_cast<unsigned long long>(shared.executions.load()), seconds,
              static_cast<unsigned long long>(options.seed));
  if (failure.empty()) return 0;
  if (!options.files.empty()) {
    std::printf("%s: FAILED: %s\n", name.c_str(), failure.c_str());
    return 1;
  }
  if (shared.executions == 0) {
    std::printf("%s: FAILED before the first input: %s\n", name.c_str(), failure.c_str());
    return 1;
  }
  const auto saved = SaveFinding(shared, options, name);
  std::printf("%s: FAILED: %s; the input is %s; see it again with: %s %s\n", name.c_str(), failure.c_str(), saved.c_str(), argv[0], saved.c_str());
  return 1;
}
