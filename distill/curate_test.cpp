#include "distill/curate.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "distill/test_support.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::sample_of;
using test::small_header;
using test::small_prompts;

struct Text {
  std::string text;
  bool right = true;
  float reward = 1.f;
  std::int64_t tokens = 3;
  StopReason stop = StopReason::kEos;
};

struct Fixture {
  test::TempDir dir;
  std::unique_ptr<RawFile> file;
  CurateStats stats;

  // texts[prompt][sample], added in an order of their own
  void make(const std::vector<std::vector<Text>>& texts, std::uint64_t order = 0, const std::string& prefill = "") {
    const auto path = dir / ("raw" + std::to_string(order) + ".jsonl");
    file = RawFile::open(path, small_header(texts.size()), small_prompts(texts.size(), prefill));
    std::vector<std::pair<std::size_t, std::size_t>> all;
    for (std::size_t p = 0; p < texts.size(); ++p)
      for (std::size_t s = 0; s < texts[p].size(); ++s) all.emplace_back(p, s);
    StreamRng rng(order, 1);
    for (std::size_t i = all.size(); order > 0 && i > 1; --i) std::swap(all[i - 1], all[rng.below(i)]);
    for (const auto& [p, s] : all) {
      const Text& t = texts[p][s];
      RawSample sample = sample_of(0, p, static_cast<int>(s), t.text, t.stop);
      sample.drawn.num_tokens = t.tokens;
      file->add(sample);
    }
    for (std::size_t p = 0; p < texts.size(); ++p) {
      std::vector<Score> scores;
      for (const Text& t : texts[p]) {
        Score& s = scores.emplace_back();
        s.value = t.reward;
        s.parts = {{"math", t.right ? 1.f : 0.f}, {"style", -t.reward}};
        s.verdict = t.right ? Verdict::kCorrect : Verdict::kWrong;
      }
      file->add_scores(0, p, scores);
    }
  }
  // "0:2 1:0": prompt:sample
  std::string kept(const CurateOptions& o) {
    stats = {};
    std::string out;
    for (const Kept& k : curate(*file, o, stats)) out += (out.empty() ? "" : " ") + std::to_string(k.prompt) + ":" + std::to_string(k.sample);
    return out;
  }
};

TEST_CASE_FIXTURE(Fixture, "curate: nothing set keeps everything in the order of the prompts") {
  make({{{"a"}, {"a"}}, {{"b", false}}});
  CHECK(kept({}) == "0:0 0:1 1:0");
  CHECK(stats.samples == 3);
  CHECK(stats.judged == 3);
  CHECK(stats.correct == 2);
  CurateOptions o;
  o.samples = {1};
  CHECK(kept(o) == "0:0 1:0");
}

TEST_CASE_FIXTURE(Fixture, "curate: filters count in order, each sample once") {
  make({{{"a"}, {"b", false}, {"c", true, 1, 3, StopReason::kLength}, {"d", false, 1, 3, StopReason::kLength}}});
  CurateOptions o;
  o.filters.finished = o.filters.correct = true;
  CHECK(kept(o) == "0:0");
  REQUIRE(stats.filters.size() == 2);
  CHECK(stats.filters[0] == std::pair<std::string, std::int64_t>("finished", 2));
  CHECK(stats.filters[1] == std::pair<std::string, std::int64_t>("correct", 1));
  CHECK(stats.whys.at("finished: length") == 2);
  CHECK(stats.whys.at("correct: wrong") == 1);
}

TEST_CASE_FIXTURE(Fixture, "curate: a think block that the prompt opened counts for the format") {
  make({{{"some words</think> 4"}}}, 0, "<think>\n");
  CurateOptions o;
  o.filters.format.emplace();
  o.filters.format->answer_tag = false;
  CHECK(kept(o) == "0:0");
}

TEST_CASE_FIXTURE(Fixture, "curate: exact duplicates of what is kept, over the set or within a prompt; the question counts too") {
  make({{{"same words here"}, {"same  words\nhere "}, {"other words"}}, {{"same words here"}}});
  CurateOptions o;
  o.exact = true;
  CHECK(kept(o) == "0:0 0:2 1:0");
  CHECK(stats.exact == 1);
  o.per_prompt = 1;
  CHECK(kept(o) == "0:0 1:0");
  CHECK(stats.exact == 0);
  CHECK(stats.not_selected == 2);
}

TEST_CASE_FIXTURE(Fixture, "curate: near duplicates within the set and within prompts") {
  const std::string base =
      "first we add the two numbers then we carry the one over to the tens and add these as well so that the result is eighty two in the end of it "
      "all";
  std::vector<std::vector<Text>> texts = {
      {{base}, {base + " indeed"}, {"something that is not like the other text in any way at all as one can see here"}}, {{base}}};
  make(texts);
  CurateOptions o;
  o.near.emplace();
  CHECK(kept(o) == "0:0 0:2");  // the question is short beside the text: the same text for another question is near
  CHECK(stats.near == 2);
  o.within_prompt = true;
  CHECK(kept(o) == "0:0 0:2 1:0");
  CHECK(stats.near == 1);
}

TEST_CASE_FIXTURE(Fixture, "curate: difficulty by the pass rate of all samples") {
  make({{{"a"}, {"b"}}, {{"a"}, {"b", false}}, {{"a", false}, {"b", false}}});
  CurateOptions o;
  o.min_pass_rate = 0.1;
  o.max_pass_rate = 0.9;
  CHECK(kept(o) == "1:0 1:1");
  CHECK(stats.too_easy_prompts == 1);
  CHECK(stats.too_hard_prompts == 1);
  CHECK(stats.difficulty == 4);
  o.min_pass_rate = 0.5;  // both ends are included
  o.max_pass_rate = 1.0;
  CHECK(kept(o) == "0:0 0:1 1:0 1:1");
  // A filter does not change the rate.
  o.max_pass_rate = 0.6;
  o.filters.correct = true;
  CHECK(kept(o) == "1:0");
}

TEST_CASE_FIXTURE(Fixture, "curate: selection: shortest right ones, best by a reward, most different") {
  make(
      {{{"long and right", true, 0.1f, 30}, {"short and wrong", false, 0.9f, 2}, {"short and right", true, 0.2f, 10}, {"as short", true, 0.3f, 10}}});
  CurateOptions o;
  o.prefer = CurateOptions::Prefer::kShortest;
  CHECK(kept(o) == "0:2 0:3 0:0 0:1");
  o.per_prompt = 2;
  CHECK(kept(o) == "0:2 0:3");
  CHECK(stats.not_selected == 2);
  o.prefer = CurateOptions::Prefer::kBest;
  CHECK(kept(o) == "0:1 0:3");
  o.best = "style";
  CHECK(kept(o) == "0:0 0:2");
  o.best = "unknown";  // all alike: right before wrong, short before long
  CHECK(kept(o) == "0:2 0:3");

  make({{{"one two three four five six seven", true, 1, 7},
         {"one two three four five six eight", true, 1, 8},
         {"red green blue black white pink grey", true, 1, 9}}},
       1);
  o.prefer = CurateOptions::Prefer::kDiverse;
  CHECK(kept(o) == "0:0 0:2");
}

TEST_CASE_FIXTURE(Fixture, "curate: decontamination by question and by text") {
  make({{{"the answer holds one two three four five six seven eight nine ten words"}, {"clean"}}, {{"clean too"}}});
  const std::string eval = (dir / "eval.jsonl").string();
  write_file_atomic(eval, "{\"question\": \"One, two, three, four, five, six, seven, eight, nine, ten?\"}\n{\"question\": \"Question 1\"}\n");
  CurateOptions o;
  o.against = {eval};
  CHECK(kept(o) == "0:1");
  CHECK(stats.contaminated == 2);
  CHECK(stats.contaminated_by.at(eval) == 2);
  CHECK(stats.contamination_example.find("one two three") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "curate: the order of the raw file's lines does not matter") {
  std::vector<std::vector<Text>> texts(20);
  StreamRng rng(5, 1);
  for (auto& of_prompt : texts)
    for (int s = 0; s < 6; ++s) {
      std::string text;
      for (int w = 0; w < 12; ++w) text += "w" + std::to_string(rng.below(6)) + " ";
      of_prompt.push_back({text, rng.below(2) == 0, static_cast<float>(rng.below(5)), static_cast<std::int64_t>(rng.below(9))});
    }
  CurateOptions o;
  o.filters.correct = true;
  o.exact = true;
  o.near.emplace();
  o.near->threshold = 0.5;
  o.max_pass_rate = 0.9;
  o.prefer = CurateOptions::Prefer::kDiverse;
  o.per_prompt = 2;
  make(texts, 1);
  const std::string wanted = kept(o);
  CHECK(wanted.size() > 40);
  for (std::uint64_t order = 2; order < 5; ++order) {
    make(texts, order);
    CHECK(kept(o) == wanted);
  }
}

TEST_CASE("curate: what needs rewards says so") {
  const test::TempDir dir;
  const auto file = RawFile::open(dir / "raw.jsonl", small_header(1, ""), small_prompts(1));
  CurateStats stats;
  CurateOptions o;
  o.filters.correct = true;
  CHECK_THROWS_WITH_AS(curate(*file, o, stats), doctest::Contains("filters.correct needs rewards"), ConfigError);
  o = {};
  o.max_pass_rate = 0.5;
  CHECK_THROWS_AS(curate(*file, o, stats), ConfigError);
  o = {};
  o.prefer = CurateOptions::Prefer::kBest;
  CHECK_THROWS_AS(curate(*file, o, stats), ConfigError);
}

}  // namespace
}  // namespace r1
