// The golds of the data folder: are they read, are mutations of them refused, rewrites of them accepted?
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "rewards/answer_text.h"
#include "rewards/completion_text.h"
#include "rewards/factory.h"
#include "rewards/math/check.h"
#include "rewards/math/mutate.h"
#include "tests/support/doc_block.h"
#include "tests/support/support.h"

namespace r1::math {
namespace {

using nlohmann::json;

struct GoldSet {
  std::string name;
  std::vector<std::string> golds;
};

// One name a data set; empty without the data folder.
const std::vector<GoldSet>& gold_sets() {
  static const std::vector<GoldSet> sets = [] {
    std::vector<GoldSet> out;
    const auto dir = test::shared_dir();
    if (dir.empty()) {
      test::skip("no shared data folder");
      return out;
    }
    static const std::vector<std::tuple<const char*, const char*, const char*>> kFiles = {
        {"MATH, 4,500 for training", "math/train_4500", "answer"},
        {"MATH-500, even rows", "math/math500_even", "answer"},
        {"GSM8K train", "gsm8k/train", "answer"},
        {"GSM8K test, first half", "gsm8k/test_first_half", "answer"},
        {"AIME 2024", "competition_math/aime2024", "answer"},
        {"AIME 2025", "competition_math/aime2025", "answer"},
        {"AMC 2023", "competition_math/amc2023", "answer"},
        {"HMMT February 2025", "competition_math/hmmt_feb2025", "answer"},
        {"CMATH dev", "chinese_math/cmath_dev", "golden"},
        {"CMATH test", "chinese_math/cmath_test", "golden"},
        {"MGSM Chinese", "chinese_math/mgsm_zh", "final"},
        {"SVAMP", "word_problems/svamp_train", "final"},
        {"MAWPS", "word_problems/mawps_train", "final"}};
    for (const auto& [name, file, column] : kFiles) {
      GoldSet set{name, {}};
      std::ifstream in(dir / "data" / (std::string(file) + ".jsonl"));
      REQUIRE_MESSAGE(in.good(), file);
      for (std::string line; std::getline(in, line);) {
        const json row = json::parse(line);
        set.golds.push_back(row[column].is_string() ? row[column].get<std::string>() : row[column].dump());
      }
      REQUIRE_FALSE(set.golds.empty());
      out.push_back(std::move(set));
    }
    return out;
  }();
  return sets;
}

// The answer alone: GSM8K's golds are worked solutions.
std::string short_gold(const std::string& gold) {
  const std::size_t hash = gold.find("#### ");
  return hash == std::string::npos ? gold : gold.substr(hash + 5);
}

// R1_MATH_EDITS=all takes every gold of MATH; else every third.
bool all_edits() {
  const char* set = std::getenv("R1_MATH_EDITS");
  return set && std::string(set) == "all";
}

std::vector<std::string> edited_golds() {
  std::vector<std::string> out;
  std::set<std::string> seen;  // 5,000 of the golds are small integers
  std::size_t n = 0;
  for (const GoldSet& set : gold_sets()) {
    for (const std::string& gold : set.golds) {
      if (const std::string s = short_gold(gold); seen.insert(s).second && (all_edits() || n++ % 3 == 0)) out.push_back(s);
    }
  }
  return out;
}

struct Tally {
  int tried = 0, accepted = 0;
};

TEST_CASE("golds: at least 99.5 % of each data set are read; the others are in the docs") {
  std::string table = "| data set | golds | read | share | not read as mathematics: compared as texts |\n| --- | --- | --- | --- | --- |\n";
  for (const GoldSet& set : gold_sets()) {
    std::size_t read = 0;
    std::string others;
    for (const std::string& gold : set.golds) {
      const auto answer = read_gold(gold);
      // A name ("Evelyn", "parabola") is read as one; what is neither mathematics nor words is not understood.
      const bool ok = answer && !answer->unreadable() && (answer->parsed.ok() || answer->choice || answer->parsed.why == "word");
      read += ok;
      if (answer && answer->parsed.ok()) continue;
      others += std::string(others.empty() ? "" : ", ") + (ok ? "" : "**not understood** ") + "`" + gold + "`";
    }
    char line[160];
    std::snprintf(line, sizeof line, "| %s | %zu | %zu | %.2f %% | ", set.name.c_str(), set.golds.size(), read,
                  100.0 * static_cast<double>(read) / static_cast<double>(set.golds.size()));
    for (std::size_t i = others.find('|'); i != std::string::npos; i = others.find('|', i + 2)) others.insert(i, "\\");
    table += line + others + " |\n";
    CHECK_MESSAGE(read >= 0.995 * static_cast<double>(set.golds.size()), set.name);
  }
  if (!gold_sets().empty()) test::check_doc_block("maths.md", "golds", table);
}

TEST_CASE("golds: mutations are refused") {
  const auto reward = make_reward("math");
  // bench/peers/math_mutants.py counts by SymPy which of them keep the value.
  std::ofstream file;
  if (const char* path = std::getenv("R1_MUTANTS_OUT")) file.open(path);
  std::map<std::string, Tally> kinds;
  int tried = 0, accepted = 0;
  for (const std::string& gold : edited_golds()) {
    Prompt prompt;
    prompt.reference = gold;
    for (const Edit& m : mutations(gold)) {
      SampleGroup group{prompt, std::vector<Completion>(1)};
      group.completions[0].text = "Hence \\boxed{" + m.text + "}.";
      group.completions[0].stop = StopReason::kEos;
      std::vector<RewardResult> out(1);
      reward->score(group, out);
      Tally& kind = kinds[std::string(m.kind)];
      if (file.is_open()) file << json({{"kind", m.kind}, {"gold", gold}, {"mutant", m.text}}).dump() << '\n';
      ++tried, ++kind.tried;
      if (out[0].verdict != r1::Verdict::kCorrect) continue;
      ++accepted, ++kind.accepted;
      std::printf("ACCEPTED %s\n", json({{"kind", m.kind}, {"gold", gold}, {"mutant", m.text}}).dump().c_str());
    }
  }
  if (gold_sets().empty()) return;
  for (const auto& [name, t] : kinds) std::printf("mutation %-20s %7d accepted %d\n", name.c_str(), t.tried, t.accepted);
  std::printf("mutations: %d, of them accepted %d\n", tried, accepted);
  CHECK(tried >= 10000);
  CHECK(accepted == 0);
}

TEST_CASE("golds: rewrites are accepted") {
  std::map<std::string, Tally> kinds;
  int tried = 0, accepted = 0;
  for (const std::string& gold : edited_golds()) {
    const Answer read = read_answer(plain_forms(gold));
    if (read.unreadable()) continue;
    for (const Edit& r : rewrites(gold, read)) {
      const Verdict v = check(read, read_answer(plain_forms(r.text)));
      Tally& kind = kinds[std::string(r.kind)];
      ++tried, ++kind.tried;
      if (v.outcome == Outcome::kEqual) {
        ++accepted, ++kind.accepted;
        continue;
      }
      std::printf("missed [%s] '%s' as '%s': read '%s' and '%s' (%s)\n", std::string(r.kind).c_str(), gold.c_str(), r.text.c_str(),
                  v.gold_read.c_str(), v.answer_read.c_str(), std::string(v.reason).c_str());
    }
  }
  if (gold_sets().empty()) return;
  for (const auto& [name, t] : kinds) std::printf("rewrite %-20s %7d missed %d\n", name.c_str(), t.tried, t.tried - t.accepted);
  std::printf("rewrites: %d, accepted %d: %.3f %%\n", tried, accepted, 100.0 * accepted / tried);
  CHECK(tried >= 10000);
  CHECK(accepted >= 0.99 * tried);
}

}  // namespace
}  // namespace r1::math
