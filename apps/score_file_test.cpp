#include "apps/score_file.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/signals.h"
#include "rewards/factory.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

Rubric rubric_of(const std::string& yaml) {
  const Config config = Config::parse("rewards: " + yaml, "test");
  ConfigReader root(config);
  return make_rubric(root.sections("rewards", "name"));
}

std::vector<Json> rows_of(const std::filesystem::path& file) {
  std::vector<Json> rows;
  const std::string text = read_file(file);
  for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) rows.push_back(Json::parse(text.substr(at, end - at)));
  return rows;
}

ScoreFileOptions options_of(const test::TempDir& dir, const std::string& rows) {
  write_file_atomic(dir / "in.jsonl", rows);
  ScoreFileOptions o;
  o.data.paths = {(dir / "in.jsonl").string()};
  o.out = (dir / "out.jsonl").string();
  o.threads = 4;
  return o;
}

TEST_CASE("score: rewards see the row's columns but the one that holds the completions") {
  struct SeesColumns : RewardFunction {
    std::string_view name() const override { return "sees"; }
    void score(const SampleGroup& group, std::span<RewardResult> out) const override {
      for (RewardResult& r : out) r.value = group.prompt.columns.contains("extra") && !group.prompt.columns.contains("completions") ? 1.f : 0.f;
    }
  };
  const test::TempDir dir;
  const ScoreFileOptions o = options_of(dir, "{\"answer\": \"2\", \"completions\": [\"2\", \"3\"], \"extra\": 1}\n");
  std::vector<Rubric::Entry> entries(1);
  entries[0].reward = std::make_unique<SeesColumns>();
  entries[0].label = "sees";
  score_file(Rubric(std::move(entries)), o);
  const auto rows = rows_of(o.out);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0]["reward"] == Json({1.0, 1.0}));
  CHECK(rows[0]["completions"] == Json({"2", "3"}));
}

TEST_CASE("score: every form of completion, columns kept, null where a reward abstains") {
  const test::TempDir dir;
  ScoreFileOptions o = options_of(dir,
      R"J({"id": "a", "answer": "2", "completion": "\\boxed{2}", "extra": {"k": [1]}}
{"answer": "2", "completions": ["\\boxed{2}", "\\boxed{3}", {"text": "<think>a</think><answer>2</answer>", "stop": "length"}]}
{"answer": "2", "response": [{"role": "assistant", "content": "hm"}, {"role": "tool", "content": "\\boxed{9}"}, {"role": "assistant", "content": "<think>a</think><answer>2</answer>"}]}
{"reference": "2", "output": "<think>a</think><answer>2</answer>", "finish_reason": "length"}
{"answer": "", "completion": "\\boxed{2}"}
)J");
  o.score_bad_rows = true;
  const ScoreSummary s = score_file(rubric_of("[math, {name: format, weight: 0.25}]"), o);
  const auto rows = rows_of(o.out);
  REQUIRE(rows.size() == 5);
  CHECK(rows[0]["extra"] == Json({{"k", {1}}}));
  CHECK(rows[0]["reward"] == 1.0);
  CHECK(rows[0]["reward.math"] == 1.0);
  CHECK(rows[0]["reward.format"] == 0.0);
  CHECK(rows[0]["verdict"] == "ok");
  CHECK(rows[0]["score_columns"]["answer_parsed"] == "2");
  CHECK(rows[1]["reward.math"] == Json({1.0, 0.0, 1.0}));
  CHECK(rows[1]["reward.format"] == Json({0.0, 0.0, 0.0}));  // the last was cut off
  CHECK(rows[1]["verdict"] == Json({"ok", "wrong", "ok"}));
  CHECK(rows[2]["reward"] == 1.25);
  CHECK(rows[3]["reward"] == 1.0);
  CHECK(rows[4]["reward.math"].is_null());
  CHECK(rows[4]["verdict"] == "abstain");
  CHECK(s.rows == 5);
  CHECK(s.completions == 7);
  CHECK(s.columns.at("reward.math").abstained == 1);
  CHECK(s.columns.at("reward.math").sum == 5.0);
  CHECK(s.verdicts == std::map<std::string, std::int64_t>{{"ok", 5}, {"wrong", 1}, {"abstain", 1}});
  CHECK(s.bad_rows.find("1 of 5") != std::string::npos);
  CHECK(s.table().find("reward.format") != std::string::npos);
}

TEST_CASE("score: rows it cannot read or score are named before anything is written") {
  const test::TempDir dir;
  const auto fails = [&](const std::string& rows, const char* part) {
    const ScoreFileOptions o = options_of(dir, rows);
    try {
      score_file(rubric_of("[math]"), o);
      FAIL("no error: ", rows);
    } catch (const DataError& e) {
      CHECK_MESSAGE(std::string(e.what()).find(part) != std::string::npos, e.what());
    }
    CHECK(!std::filesystem::exists(o.out));
    CHECK(!std::filesystem::exists(o.out + ".partial"));
  };
  fails("{\"answer\": \"1\", \"completion\": \"1\"}\n{\"answer\": \"1\"}\n", "in.jsonl:2: there is no completion column");
  fails("{\"answer\": \"1\", \"completion\": 3}\n", "must be a text");
  fails("{\"answer\": \"1\", \"completions\": []}\n", "empty list");
  fails("{\"answer\": \"1\", \"completion\": {\"text\": \"1\", \"stop\": \"tired\"}}\n", "tired");
  fails("{\"answer\": \"\", \"completion\": \"1\"}\n", "no gold answer");
  fails("{\"answer\": \n", "in.jsonl:1");
}

TEST_CASE("score: the output is a file and never the input") {
  const test::TempDir dir;
  const std::string rows = "{\"answer\": \"1\", \"completion\": \"1\"}\n";
  ScoreFileOptions o = options_of(dir, rows);
  std::filesystem::create_symlink(dir / "in.jsonl", dir / "link.jsonl");
  for (const std::string& out : {o.data.paths[0], (dir / "link.jsonl").string(), std::string("-")}) {
    o.out = out;
    CHECK_THROWS_AS(score_file(rubric_of("[math]"), o), ConfigError);
  }
  CHECK(read_file(dir / "in.jsonl") == rows);
}

TEST_CASE("score: order holds with threads, and a stopped call goes on to the same bytes") {
  const test::TempDir dir;
  std::string rows;
  for (int i = 0; i < 400; ++i) rows += message("{\"n\": ", i, ", \"answer\": \"", i, "\", \"completion\": \"\\\\boxed{", i % 3 ? i : -1, "}\"}\n");
  ScoreFileOptions o = options_of(dir, rows);
  const Rubric rubric = rubric_of("[math]");
  const ScoreSummary whole = score_file(rubric, o);
  CHECK(whole.verdicts.at("ok") == 266);
  const auto scored = rows_of(o.out);
  for (int i = 0; i < 400; ++i) CHECK(scored[static_cast<std::size_t>(i)]["n"] == i);
  const std::string wanted = read_file(o.out);
  std::filesystem::remove(o.out);

  reset_stop_for_tests();
  CHECK_THROWS_AS(score_file(rubric, o, [](std::int64_t done, std::int64_t) { if (done == 100) request_stop(); }), Interrupted);
  reset_stop_for_tests();
  CHECK(!std::filesystem::exists(o.out));
  // What a kill in the middle of a write leaves.
  const std::string partial = read_file(o.out + ".partial");
  write_file_atomic(o.out + ".partial", partial.substr(0, partial.size() - 7));
  ScoreFileOptions other = o;
  other.settings = "others";
  CHECK_THROWS_WITH_AS(score_file(rubric, other), doctest::Contains("other input or settings"), ConfigError);
  const ScoreSummary rest = score_file(rubric, o);
  CHECK(rest.resumed >= 99);
  CHECK(rest.resumed < 400);
  CHECK(rest.rows == 400);
  CHECK(rest.verdicts == whole.verdicts);
  CHECK(read_file(o.out) == wanted);
  CHECK(!std::filesystem::exists(o.out + ".partial"));
}

}  // namespace
}  // namespace r1
