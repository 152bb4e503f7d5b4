// Models: what is saved is what is loaded, all or nothing, and no changed byte gets by.
#include "algorithms/model.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "actors/text.h"
#include "tests/algorithms/memory_source.h"
#include "tests/algorithms/saved_model.h"

namespace troupe {
namespace {

using testing::LearnableRows;
using testing::MemorySource;
using testing::SaveModel;

LocalResult Train(const std::string& algorithm = "logistic_regression", uint64_t seed = 1) {
  const auto source = std::make_shared<MemorySource>(LearnableRows(Task::kBinary, false, 60, seed), 20);
  auto result = RunLocal({.algorithm = algorithm, .source = source, .splits = 2, .seed = seed});
  BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
  result->manifest.data = "a \"quoted\"\n\\ path/\x01\x1f\\u001f\xc3\xa4.svm";
  result->manifest.troupe_version = "0.1.0";
  return *std::move(result);
}

std::string Why(Storage& storage, const std::string& uri) {
  const auto model = LoadModel(storage, uri);
  return model.ok() ? "" : std::string(Message(model.status()));
}

std::string Text(const Block& block) {
  return {reinterpret_cast<const char*>(block.data()), block.size()};
}
Block Bytes(const std::string& text) {
  return Block::Copy(text.data(), text.size());
}

/// A manifest with its checksum made right again after an edit, as a newer version or a forger would.
std::string Resealed(std::string text) {
  text.resize(text.rfind(",\n  \"checksum\""));
  return text + ",\n  \"checksum\": \"" + Checksum(text.data(), text.size()) + "\"\n}\n";
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  BOOST_REQUIRE_MESSAGE(at != std::string::npos, from);
  return text.replace(at, from.size(), to);
}

BOOST_AUTO_TEST_SUITE(ModelSuite)

BOOST_AUTO_TEST_CASE(a_saved_model_loads_with_the_same_rows_manifest_and_predictions) {
  const auto storage = MakeMemoryStorage();
  const LocalResult result = Train();
  BOOST_REQUIRE(SaveModel(*storage, "mem:/models/m", result).ok());
  const auto loaded = LoadModel(*storage, "mem:/models/m");
  BOOST_REQUIRE_MESSAGE(loaded.ok(), loaded.status().ToString());
  const auto original = *MakeModel(result);
  BOOST_TEST(ShowModel(**loaded, true) == ShowModel(*original, true));
  const Manifest& manifest = (*loaded)->manifest();
  BOOST_TEST(manifest.data == result.manifest.data);
  BOOST_TEST((manifest.params == result.manifest.params));
  BOOST_TEST((manifest.metrics == decltype(manifest.metrics){{"auc", 0.1 + 0.2}, {"logloss", 0.5}}));
  BOOST_TEST(manifest.parts.size() == 2);
  const auto names = *storage->List("mem:/models");
  BOOST_TEST(names.size() == 1);   // no staging folder is left
  const Batch batch = testing::MakeBatch(LearnableRows(Task::kBinary, false, 30, 5));
  std::vector<float> a(30), b(30);
  BOOST_REQUIRE((*loaded)->predictor().Predict(batch, a, nullptr).ok());
  BOOST_REQUIRE(original->predictor().Predict(batch, b, nullptr).ok());
  BOOST_TEST(a == b);
}

BOOST_AUTO_TEST_CASE(a_manifest_reads_back_as_it_was_and_numbers_keep_every_digit) {
  Manifest manifest = Train().manifest;
  manifest.seed = std::numeric_limits<uint64_t>::max();
  manifest.rows = (uint64_t{1} << 53) + 1;
  manifest.schema = {"parquet", "y", {"a,b", "\"c\"", ""}};
  manifest.metrics = {{"z", 1e-300}, {"a", -0.1}};
  manifest.parts = {{"part-00000.troupe", 12, "00ff"}};
  const auto again = ParseManifest(ToJson(manifest));
  BOOST_REQUIRE_MESSAGE(again.ok(), again.status().ToString());
  BOOST_TEST((*again == manifest));
  manifest.metrics.emplace_back("auc", std::nan(""));
  BOOST_TEST(ParseManifest(ToJson(manifest))->metrics.size() == 2);
}

BOOST_AUTO_TEST_CASE(no_changed_byte_and_no_cut_gets_by) {
  const auto storage = MakeMemoryStorage();
  BOOST_REQUIRE(SaveModel(*storage, "mem:/m", Train("naive_bayes")).ok());
  const std::vector<std::string> files = *storage->List("mem:/m");
  for (const std::string& name : files) {
    const std::string path = "mem:/m/" + name, text = Text(*storage->Read(path));
    const bool is_part = name.starts_with("part");
    for (size_t i = 0; i < text.size(); ++i) {
      std::string changed = text;
      changed[i] = static_cast<char>(changed[i] ^ (1 << i % 8));
      BOOST_REQUIRE(storage->Write(path, {Bytes(changed)}, false).ok());
      const std::string why = Why(*storage, "mem:/m");
      if (!why.starts_with(path + ": ")) BOOST_FAIL(name << " byte " << i << ": '" << why << "'");
      if (is_part && why != path + ": checksum differs: cut or edited") BOOST_FAIL(why);
    }
    for (const size_t size : {size_t{0}, size_t{1}, text.size() / 2, text.size() - 1}) {
      BOOST_REQUIRE(storage->Write(path, {Bytes(text.substr(0, size))}, false).ok());
      BOOST_TEST(Why(*storage, "mem:/m").starts_with(path + ": "));
    }
    BOOST_REQUIRE(storage->Write(path, {Bytes(text)}, false).ok());
    BOOST_TEST(Why(*storage, "mem:/m") == "");
  }
}

BOOST_AUTO_TEST_CASE(every_defect_names_its_file) {
  const auto storage = MakeMemoryStorage();
  BOOST_TEST(Why(*storage, "mem:/none").starts_with("mem:/none: "));
  BOOST_REQUIRE(storage->Write("mem:/empty/other.txt", {Bytes("x")}, false).ok());
  BOOST_TEST(Why(*storage, "mem:/empty") == "mem:/empty/manifest.json: no such file: the folder is no model");
  BOOST_REQUIRE(storage->Write("mem:/empty/manifest.json", {Bytes("{}")}, false).ok());
  BOOST_TEST(Why(*storage, "mem:/empty") == "mem:/empty/manifest.json: not a model manifest");
  BOOST_REQUIRE(SaveModel(*storage, "mem:/m", Train()).ok());
  const std::string path = "mem:/m/manifest.json", text = Text(*storage->Read(path));
  const auto with = [&](const std::string& from, const std::string& to) {
    const std::string edited = Resealed(Replaced(text, from, to));
    TROUPE_CHECK(storage->Write(path, {Bytes(edited)}, false).ok());
    return Why(*storage, "mem:/m");
  };
  BOOST_TEST(with("\"format_version\": 1", "\"format_version\": 2") == path + ": model format is 2, expected at most 1: written by a newer version");
  BOOST_TEST(with("\"logistic_regression\"", "\"logistic_regresion\"") ==
             path + ": unknown algorithm 'logistic_regresion'; did you mean 'logistic_regression'?");
  BOOST_TEST(with("\"logistic_regression\"", "\"naive_bayes\"").starts_with(path + ": "));   // its parameters and tables are others
  BOOST_TEST(with("\"seed\": 1,", "\"seed\": -1,") == path + ": field 'seed' is missing or of the wrong kind");
  BOOST_TEST(with("  \"rows\": 0,\n", "") == path + ": field 'rows' is missing or of the wrong kind");
  BOOST_TEST(with("\"consistency\": \"bsp\"", "\"consistency\": 7") == path + ": field 'consistency' is missing or of the wrong kind");
  BOOST_TEST(with("\"kind\": \"binary\"", "\"kind\": \"x\"") == path + ": field 'labels' is missing or of the wrong kind");
  BOOST_TEST(with("\"tables\": [", "\"tables\": {[").starts_with(path + ": not JSON: "));
  BOOST_TEST(with("\"width\": 1", "\"width\": 2").starts_with(path + ": the tables are not those of logistic_regression"));
  BOOST_TEST(with("\"rows\": " + std::to_string(ParseManifest(text)->tables[0].rows), "\"rows\": 3") == path + ": rows differ from those of the parts");
  BOOST_REQUIRE(storage->Write(path, {Bytes(text)}, false).ok());
  BOOST_REQUIRE(storage->Remove("mem:/m/part-00001.troupe").ok());
  BOOST_TEST(Why(*storage, "mem:/m").starts_with("mem:/m/part-00001.troupe: "));
}

BOOST_AUTO_TEST_CASE(a_new_model_replaces_an_old_one_and_nothing_else) {
  const auto storage = MakeMemoryStorage();
  BOOST_REQUIRE(SaveModel(*storage, "mem:/m", Train("logistic_regression", 1)).ok());
  BOOST_REQUIRE(SaveModel(*storage, "mem:/m/", Train("naive_bayes", 2)).ok());
  BOOST_TEST((*LoadModel(*storage, "mem:/m"))->manifest().algorithm == "naive_bayes");
  BOOST_REQUIRE(storage->Write("mem:/mine/notes.txt", {Bytes("x")}, false).ok());
  BOOST_TEST(Message(SaveModel(*storage, "mem:/mine", Train())) == "mem:/mine: folder exists and is no model");
  BOOST_REQUIRE(storage->Write("mem:/mine/manifest.json", {Bytes("{\"name\": \"web app\"}")}, false).ok());
  BOOST_TEST(Message(SaveModel(*storage, "mem:/mine", Train())) == "mem:/mine: folder exists and is no model");
  BOOST_TEST(Message(SaveModel(*storage, "mem:/mine/notes.txt", Train())) == "mem:/mine/notes.txt: exists and is no folder");
  BOOST_TEST(Text(*storage->Read("mem:/mine/notes.txt")) == "x");
  BOOST_TEST(absl::IsInvalidArgument(SaveModel(*storage, "mem:/", Train())));
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_the_old_model_and_no_temporary) {
  for (uint64_t limit = 6000; limit < 12000; limit += 250) {
    const auto storage = MakeMemoryStorage(limit);
    if (!SaveModel(*storage, "mem:/m", Train("naive_bayes", 1)).ok()) continue;
    const std::string before = ShowModel(**LoadModel(*storage, "mem:/m"), true);
    const absl::Status second = SaveModel(*storage, "mem:/m", Train("naive_bayes", 2));
    if (second.ok()) continue;
    BOOST_TEST(absl::IsResourceExhausted(second), second.ToString());
    BOOST_TEST(ShowModel(**LoadModel(*storage, "mem:/m"), true) == before);
    BOOST_TEST(storage->List("mem:/")->size() == 1);
  }
}

BOOST_AUTO_TEST_CASE(large_and_small_keys_are_looked_up_alike) {
  Manifest manifest = Train().manifest;
  for (const Key far : {Key{40}, ~Key{0}}) {
    ExportedRows one, two;
    one.keys = {0, 7, far};
    one.values = {0.5f, 1.5f, 2.5f};
    two.keys = {3};
    two.values = {-1};
    const auto model = Model::Make(manifest, {{one, two}});
    BOOST_REQUIRE_MESSAGE(model.ok(), model.status().ToString());
    const std::vector<Key> keys = {far, 3, 4, 0, 7, far - 1};
    std::vector<float> values(keys.size());
    (*model)->Lookup(0, keys, values.data());
    BOOST_TEST(values == (std::vector<float>{2.5f, -1, 0, 0.5f, 1.5f, 0}), boost::test_tools::per_element());
    BOOST_TEST((*model)->Direct(0).empty() == (far == ~Key{0}));
    const RowsView all = (*model)->All(0);
    BOOST_TEST(std::vector<Key>(all.keys.begin(), all.keys.end()) == (std::vector<Key>{0, 3, 7, far}), boost::test_tools::per_element());
    const Batch batch = testing::MakeBatch({{0, {{3, 2.0f}, {7, 1.0f}, {far, 1.0f}}, {}}});
    float p = 0;
    BOOST_REQUIRE((*model)->predictor().Predict(batch, {&p, 1}, nullptr).ok());
    BOOST_TEST(p == 1 / (1 + std::exp(-2.5f)), boost::test_tools::tolerance(1e-6f));   // 0.5 - 2 + 1.5 + 2.5
    BOOST_TEST(Message(Model::Make(manifest, {{one, one}}).status()).find("is there twice") != std::string_view::npos);
  }
}

BOOST_AUTO_TEST_CASE(csv_values_are_exact_and_counts_have_no_exponent) {
  Manifest manifest = Train("naive_bayes").manifest;
  ExportedRows rows;
  rows.width = 2;
  rows.wide = true;
  rows.keys = {0, 2};
  rows.wide_values = {100000, 281474976710655, 16777217, 0.1};
  const auto model = Model::Make(manifest, {{rows}});
  BOOST_REQUIRE(model.ok());
  BOOST_TEST(ShowModel(**model, true) == "table,key,value0,value1\ncounts,0,100000,281474976710655\ncounts,2,16777217,0.1\n");
  BOOST_TEST(LooksLikeManifest(ShowModel(**model, false)));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
