#include "distill/write_set.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "distill/test_support.h"
#include "tests/support/support.h"
#include "text/dataset.h"
#include "text/parquet.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;
using test::sample_of;
using test::small_header;
using test::small_prompts;

struct Fixture {
  test::TempDir dir;
  std::unique_ptr<RawFile> file;
  std::vector<Kept> kept = {{0, 0, 0, 0.5}, {0, 1, 1, std::nullopt}};
  SetOptions options;

  Fixture() {
    file = RawFile::open(dir / "raw.jsonl", small_header(2), small_prompts(2));
    RawSample s = sample_of(0, 0, 0, "a word</think> <answer>0");
    s.drawn.stop = StopReason::kStop;
    s.drawn.stop_text = "</answer>";
    s.drawn.logprob = -0.1;
    s.drawn.digest = std::string(32, 'a');
    file->add(s);
    file->add(sample_of(0, 1, 0, "x"));
    file->add(sample_of(0, 1, 1, "y"));
    Score score;
    score.value = 1.f;
    score.verdict = Verdict::kCorrect;
    score.parts = {{"math", 1.f}};
    file->add_scores(0, 0, {score});
    options.labels = {"math", "format"};
  }
  std::vector<Json> rows(const std::filesystem::path& path) {
    std::vector<Json> out;
    DatasetOptions o;
    o.paths = {path.string()};
    for (const Row& row : read_rows(o)) {
      Json& j = out.emplace_back(Json::object());
      for (const auto& [name, text] : row.columns) j[name] = Json::parse(text);
    }
    return out;
  }
};

TEST_CASE("set paths: a folder, files, and what does not go together") {
  const test::TempDir dir;
  const SetPaths folder = set_paths(dir / "set", "");
  CHECK(folder.data == dir / "set" / "data.jsonl");
  CHECK(folder.card == dir / "set" / "README.md");
  CHECK(folder.raw == dir / "set" / "raw" / "samples.jsonl");
  const SetPaths file = set_paths(dir / "a.jsonl", "");
  CHECK(file.card == dir / "a.card.md");  // never somebody's README.md
  CHECK(file.raw == dir / "a.samples.jsonl");
  CHECK(!file.parquet);
  CHECK_THROWS_AS(set_paths("", ""), ConfigError);
  CHECK_THROWS_AS(set_paths(dir / "a.csv", ""), ConfigError);
  CHECK_THROWS_AS(set_paths(dir / "set", "csv"), ConfigError);
  CHECK_THROWS_AS(set_paths(dir / "a.jsonl", "parquet"), ConfigError);
  if (parquet_available()) {
    CHECK(set_paths(dir / "a.parquet", "").parquet);
    CHECK(set_paths(dir / "set", "parquet").data == dir / "set" / "data.parquet");
  } else {
    CHECK_THROWS_WITH_AS(set_paths(dir / "a.parquet", ""), doctest::Contains("no Parquet"), ConfigError);
  }
}

TEST_CASE_FIXTURE(Fixture, "records: the conversation with its open tag and stop string, and where it comes from") {
  const SetPaths paths = set_paths(dir / "set.jsonl", "");
  const SetStats stats = write_set(*file, kept, {}, nullptr, paths, options);
  CHECK(stats.records == 2);
  CHECK(stats.tokens == 6);
  const auto out = rows(paths.data);
  REQUIRE(out.size() == 2);
  const Json& a = out[0];
  CHECK(a["messages"] ==
        Json::parse(R"([{"role":"user","content":"question 0"},{"role":"assistant","content":"<think>\na word</think> <answer>0</answer>"}])"));
  CHECK(a["prompt_id"] == "p0");
  CHECK(a["task"] == "math");
  CHECK(a["answer"] == "0");
  CHECK(a["reward"] == 1.0);
  CHECK(a["verdict"] == "ok");
  CHECK(a["pass_rate"] == 0.5);
  CHECK(a["rewards"]["math"] == 1.0);
  CHECK(a["rewards"]["format"].is_null());
  const Json& from = a["provenance"];
  CHECK(from["program"] == "r1 test");
  CHECK(from["model"] == "model0");
  CHECK(from["model_digest"] == std::string(32, 'a'));
  CHECK(from["template_digest"] == std::string(32, 'd'));
  CHECK(from["prompt_digest"] == std::string(32, 'e'));
  CHECK(from["seed"] == 7);
  CHECK(from["prompt_index"] == 0);
  CHECK(from["sample"] == 0);
  CHECK(from["temperature"] == 1.0);
  CHECK(from["stop_reason"] == "stop");
  CHECK(from["logprob"] == -0.1);
  CHECK(from["rewards_config"] == "[{\"name\":\"math\"}]");
  // Every row has the same fields.
  const Json& b = out[1];
  CHECK(b["reward"].is_null());
  CHECK(b["pass_rate"].is_null());
  CHECK(b["provenance"]["samples"] == 2);
  for (const auto& [name, value] : a.items()) CHECK(b.contains(name));
  for (const auto& [name, value] : from.items()) CHECK(b["provenance"].contains(name));
  CHECK(!a.contains("columns"));
  options.columns = true;
  write_set(*file, kept, {}, nullptr, paths, options);
  CHECK(rows(paths.data)[1]["columns"]["n"] == 1);
}

TEST_CASE_FIXTURE(Fixture, "records: Parquet holds what JSON lines hold") {
  if (!parquet_available()) return;
  const SetPaths lines = set_paths(dir / "set.jsonl", ""), columns = set_paths(dir / "set.parquet", "");
  write_set(*file, kept, {}, nullptr, lines, options);
  write_set(*file, kept, {}, nullptr, columns, options);
  const auto a = rows(lines.data), b = rows(columns.data);
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    for (const auto& [name, value] : a[i].items()) CHECK_MESSAGE(b[i].at(name) == value, name);
  CHECK(!std::filesystem::exists(dir / "set.parquet.tmp-rows"));
}

TEST_CASE_FIXTURE(Fixture, "card: counts, models, licences as given, examples as text; a function of its arguments") {
  const SetPaths paths = set_paths(dir / "set.jsonl", "");
  CurateOptions curated;
  curated.filters.correct = true;
  curated.near.emplace();
  curated.per_prompt = 2;
  CurateStats counted;
  counted.samples = 12345;
  counted.prompts_kept = 2;
  counted.judged = 4;
  counted.correct = 3;
  counted.filters = {{"correct", 12000}};
  counted.whys = {{"correct: wrong", 12000}};
  options.license = "apache-2.0";
  options.license_notes = {"model: made by us"};
  options.title = "Sums";
  const SetStats stats = write_set(*file, kept, curated, nullptr, paths, options);
  const std::string card = set_card(*file, curated, counted, nullptr, paths, options, stats);
  for (const char* part :
       {"---\nlicense: \"apache-2.0\"\n", "data_files: \"set.jsonl\"", "# Sums\n", "2 records of 2 prompts, 6 tokens", "| model0 | aaaaaaaa",
        "| samples drawn | 12,345 |", "| - correct | 12,000 |", "correct: wrong: 12,000", "3 of 4 judged samples were right (75 %)",
        "- model: made by us", "    <think>\n    a word</think>", "MinHash, 128 hashes"})
    CHECK_MESSAGE(card.find(part) != std::string::npos, part);
  CHECK(card.find("\"role_tag\": \"role\"") != std::string::npos);
  CHECK(card.find("\"file_name\": \"" + paths.data.filename().string() + "\"") != std::string::npos);
  CHECK(set_card(*file, curated, counted, nullptr, paths, options, stats) == card);
  options.license.clear();
  options.license_notes.clear();
  CHECK(set_card(*file, curated, counted, nullptr, paths, options, stats).find("None was stated") != std::string::npos);
}

}  // namespace
}  // namespace r1
