// Includes point one way: every source file of the repository is read, and planted violations show that the rules see what they should.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/layers/includes.h"

namespace fs = std::filesystem;
using troupe::layers::OwnHeaderViolation;
using troupe::layers::Violations;

namespace {

constexpr const char* kFolders[] = {"actors", "ps", "dataflow", "algorithms", "tools", "examples", "tests"};
constexpr const char* kSourceEndings[] = {".h", ".cc", ".capnp"};

std::vector<fs::path> SourceFiles() {
  std::vector<fs::path> files;
  for (const auto* folder : kFolders) {
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(TROUPE_SOURCE_DIR) / folder)) {
      const auto ending = entry.path().extension();
      for (const auto* known : kSourceEndings) {
        if (entry.is_regular_file() && ending == known) files.push_back(entry.path());
      }
    }
  }
  return files;
}

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}   // namespace

BOOST_AUTO_TEST_SUITE(layers)

BOOST_AUTO_TEST_CASE(every_include_of_the_repository_obeys_the_layers) {
  const auto files = SourceFiles();
  BOOST_TEST(files.size() > 20U);   // else the wrong folder was read
  for (const auto& file : files) {
    const auto path = fs::relative(file, TROUPE_SOURCE_DIR).generic_string();
    for (const auto& line : Violations(path, ReadFile(file))) BOOST_ERROR(line);
  }
}

BOOST_AUTO_TEST_CASE(every_source_file_includes_its_own_header_first) {
  for (const auto& file : SourceFiles()) {
    if (file.extension() != ".cc" || !fs::exists(fs::path(file).replace_extension(".h"))) continue;
    const auto line = OwnHeaderViolation(fs::relative(file, TROUPE_SOURCE_DIR).generic_string(), ReadFile(file));
    if (!line.empty()) BOOST_ERROR(line);
  }
}

BOOST_AUTO_TEST_CASE(every_link_of_the_documentation_leads_to_a_file) {
  std::vector<fs::path> pages = {fs::path(TROUPE_SOURCE_DIR) / "README.md"};
  for (const auto* folder : {"actors", "ps", "dataflow", "algorithms", "examples", "docs"}) {
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(TROUPE_SOURCE_DIR) / folder)) {
      if (entry.path().extension() == ".md") pages.push_back(entry.path());
    }
  }
  static const std::regex kLink(R"(\]\(([^)#:]+)(#[^)]*)?\))");   // no "https:": pages are not fetched
  for (const auto& page : pages) {
    const auto text = ReadFile(page);
    for (std::sregex_iterator link(text.begin(), text.end(), kLink), end; link != end; ++link) {
      const auto target = (*link)[1].str();
      BOOST_TEST(fs::exists(page.parent_path() / target), fs::relative(page, TROUPE_SOURCE_DIR).generic_string()
                                                              << " links to " << target << ", which is not there");
    }
  }
}

BOOST_AUTO_TEST_CASE(planted_violations_are_refused) {
  const std::pair<const char*, const char*> planted[] = {
      {"actors/block.h", "#include \"ps/table.h\"\n"},
      {"actors/block.h", "#include \"dataflow/batch.h\"\n"},
      {"ps/table.cc", "#include \"dataflow/batch.h\"\n"},
      {"ps/table.cc", "  #  include <algorithms/step.h>\n"},
      {"dataflow/batch.h", "#include \"ps/types.h\"\n"},
      {"dataflow/batch.h", "#include \"algorithms/step.h\"\n"},
      {"algorithms/step.h", "#include \"tools/troupe/train.h\"\n"},
      {"algorithms/step.h", "#include \"tests/support/sim.h\"\n"},
      {"examples/01_hello_actor.cc", "#include \"tools/troupe/train.h\"\n"},
      {"actors/block.h", "#include \"block.h\"\n"},
      {"ps/table.h", "#include <caf/all.hpp>\n"},
      {"tools/troupe/train.cc", "#include <caf/all.hpp>\n"},
      {"dataflow/batch.h", "#include <arrow/api.h>\n"},
      {"ps/table.cc", "#include <rocksdb/db.h>\n"},
      {"actors/rpc_network.cc", "#include <openssl/ssl.h>\n"},
      {"tools/troupe/train.cc", "#include <parquet/arrow/reader.h>\n"},
      {"ps/table.cc", "#include <capnp/message.h>\n"},
      {"actors/system.cc", "#include <kj/async.h>\n"},
      {"ps/shard_actor.cc", "#include \"ps/ps.capnp.h\"\n"},
      {"ps/client.cc", "#include \"actors/internal/link.h\"\n"},
      {"actors/actors.capnp", "using Ps = import \"/ps/ps.capnp\";\n"},
      {"actors/string_utils.h", ""},
      {"tools/test_helpers.cc", ""},
      {"ps/common.h", ""},
      {"dataflow/misc.cc", ""},
      {"scripts/a.cc", "#include \"ps/table.h\"\n"},
  };
  for (const auto& [path, text] : planted) BOOST_TEST(Violations(path, text).size() == 1U, path << " with " << text);
  BOOST_TEST(!OwnHeaderViolation("ps/table.cc", "#include <vector>\n#include \"ps/table.h\"\n").empty());
}

BOOST_AUTO_TEST_CASE(a_violation_names_file_and_line) {
  const auto found = Violations("ps/table.cc", "#include \"ps/table.h\"\n\n#include \"dataflow/batch.h\"\n");
  BOOST_REQUIRE(found.size() == 1U);
  BOOST_TEST(found[0] == "ps/table.cc:3: dataflow/batch.h: ps/ must not know dataflow/");
}

BOOST_AUTO_TEST_CASE(what_the_layers_allow_passes) {
  const std::pair<const char*, const char*> allowed[] = {
      {"ps/table.cc", "#include \"ps/table.h\"\n#include <vector>\n#include \"actors/status.h\"\n#include \"ps/internal/rows.h\"\n"},
      {"algorithms/step.cc", "#include \"ps/table.h\"\n#include \"dataflow/batch.h\"\n#include <Eigen/Core>\n"},
      {"ps/shard_actor.cc", "#include <caf/all.hpp>\n"},
      {"ps/shard_actor/parts.h", "#include <caf/all.hpp>\n"},
      {"ps/messages.h", "#include <caf/fwd.hpp>\n"},
      {"ps/client.h", "#include <caf/fwd.hpp>\n"},
      {"actors/system.cc", "#include <caf/all.hpp>\n"},
      {"actors/rpc_network.cc", "#include <kj/async.h>\n#include \"actors/actors.capnp.h\"\n"},
      {"ps/wire.cc", "#include \"ps/ps.capnp.h\"\n"},
      {"ps/rocksdb/rocks_tier.cc", "#include <rocksdb/db.h>\n"},
      {"actors/internal/tls.cc", "#include <openssl/ssl.h>\n"},
      {"dataflow/arrow/parquet_source.cc", "#include <arrow/api.h>\n#include <parquet/arrow/reader.h>\n"},
      {"ps/ps.capnp", "using A = import \"/actors/actors.capnp\";\n# using B = import \"/dataflow/b.capnp\";\n"},
      {"tests/ps/table_test.cc", "#include \"ps/internal/rows.h\"\n#include \"tests/support/sim.h\"\n"},
      {"actors/block.h", "// #include \"ps/table.h\"\nconst char* kText = \"#include\";\n"},
  };
  for (const auto& [path, text] : allowed) BOOST_TEST(Violations(path, text).empty(), path << " with " << text);
  BOOST_TEST(OwnHeaderViolation("ps/table.cc", "// what it is for\n#include \"ps/table.h\"\n#include <vector>\n") == "");
}

BOOST_AUTO_TEST_SUITE_END()
