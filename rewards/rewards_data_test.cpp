// The rewards on the team's optional data folder: golds accept themselves, labelled solutions, tasks with known
// solutions.
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "rewards/factory.h"
#include "rewards/math/check.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using nlohmann::json;

std::vector<json> rows(const std::string& relative) {
  const auto dir = test::shared_dir();
  if (dir.empty()) {
    test::skip("no shared data folder");
    return {};
  }
  std::ifstream in(dir / "data" / relative);
  REQUIRE_MESSAGE(in.good(), relative);
  std::vector<json> out;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) out.push_back(json::parse(line));
  }
  REQUIRE_FALSE(out.empty());
  return out;
}

RewardResult score(const RewardFunction& reward, const Prompt& prompt, const std::string& text) {
  SampleGroup group{prompt, std::vector<Completion>(1)};
  group.completions[0].text = text;
  group.completions[0].stop = StopReason::kEos;
  std::vector<RewardResult> out(1);
  reward.score(group, out);
  return out[0];
}
Prompt with_gold(const std::string& gold) {
  Prompt p;
  p.reference = gold;
  return p;
}

TEST_CASE("GSM8K: every gold is a number, equals itself and its final field, and differs from its neighbour") {
  const auto math = make_reward("math");
  for (const char* file : {"gsm8k/train.jsonl", "gsm8k/test_first_half.jsonl"}) {
    int numbers = 0, self = 0, boxed = 0, off_by_one = 0, total = 0;
    for (const json& row : rows(file)) {
      const std::string gold = row["answer"], final = row["final"];
      const Prompt p = with_gold(gold);
      ++total;
      const auto parsed = math::read_gold(gold);
      numbers += parsed && parsed->is_number();
      self += score(*math, p, gold).verdict == Verdict::kCorrect;
      boxed += score(*math, p, "So it is \\boxed{" + final + "}.").verdict == Verdict::kCorrect;
      const mpq_class next = parsed->parsed.tree.numbers[0].value + 1;
      off_by_one += score(*math, p, "The answer is " + next.get_str() + ".").verdict == Verdict::kCorrect;
      CHECK(math->check_prompt(p).empty());
    }
    if (total == 0) return;
    std::printf("%s: %d rows, %d numbers, %d accept themselves, %d accept the final field, %d accept gold + 1\n", file,
                total, numbers, self, boxed, off_by_one);
    CHECK(numbers == total);
    CHECK(self == total);
    CHECK(boxed == total);
    CHECK(off_by_one == 0);
  }
}

TEST_CASE("GSM8K: labelled solutions of other models") {
  const auto math = make_reward("math");
  int agree = 0, total = 0, false_ok = 0, false_wrong = 0;
  for (const json& row : rows("gsm8k_solutions/solutions.jsonl")) {
    const RewardResult r = score(*math, with_gold(row["final"].get<std::string>()), row["solution"].get<std::string>());
    const bool ok = r.verdict == Verdict::kCorrect, label = row["is_correct"];
    ++total;
    agree += ok == label;
    false_ok += ok && !label;
    false_wrong += !ok && label;
    if (ok != label) {
      const std::string solution = row["solution"];
      std::printf("label %d, ours %s (%s), gold %s, read '%s': ...%s\n", label, to_string(r.verdict), r.detail.c_str(),
                  row["final"].get<std::string>().c_str(),
                  r.columns.contains("answer_parsed") ? r.columns.at("answer_parsed").c_str() : "",
                  solution.substr(solution.size() > 80 ? solution.size() - 80 : 0).c_str());
    }
  }
  if (total == 0) return;
  std::printf("gsm8k_solutions: agreement %d of %d; accepted against the label %d, refused against it %d\n", agree,
              total, false_ok, false_wrong);
  CHECK(agree >= total * 0.995);
}

TEST_CASE("MATH and contest golds: each accepts itself in any dress; how many are numbers") {
  const auto math = make_reward("math");
  for (const char* file :
       {"math/train_4500.jsonl", "math/math500_even.jsonl", "competition_math/aime2024.jsonl",
        "competition_math/aime2025.jsonl", "competition_math/amc2023.jsonl", "competition_math/hmmt_feb2025.jsonl"}) {
    int total = 0, numbers = 0, trees = 0, words = 0, unread = 0, self = 0, solution = 0, crossed = 0;
    std::string previous;
    for (const json& row : rows(file)) {
      const std::string gold = row["answer"].is_string() ? row["answer"].get<std::string>() : row["answer"].dump();
      const Prompt p = with_gold(gold);
      ++total;
      const auto parsed = math::read_gold(gold);
      // A text answer ("Evelyn", "(C)") is one by its words; what is neither a tree nor that is not understood.
      if (parsed && parsed->is_number()) ++numbers;
      else if (parsed && parsed->parsed.ok()) ++trees;
      else if (parsed && (parsed->choice || parsed->parsed.why == "word")) ++words;
      else ++unread;
      if (!parsed || !parsed->parsed.ok())
        std::printf("%s: no tree (%s): %s\n", file, parsed ? std::string(parsed->parsed.why).c_str() : "empty", gold.c_str());
      const bool ok = score(*math, p, "Hence \\boxed{" + gold + "}.").verdict == Verdict::kCorrect;
      self += ok;
      if (!ok) std::printf("%s does not accept itself: %s\n", file, gold.c_str());
      if (row.contains("solution")) {
        const RewardResult r = score(*math, with_gold(row["solution"].get<std::string>()), "\\boxed{" + gold + "}");
        solution += r.verdict == Verdict::kCorrect;
        if (r.verdict != Verdict::kCorrect)
          std::printf("%s: '%s' is not its solution's box '%s'\n", file, gold.c_str(), r.columns.at("gold_parsed").c_str());
      }
      // The gold of the row before is another answer, unless its text is the same.
      if (!previous.empty() && previous != gold &&
          score(*math, p, "\\boxed{" + previous + "}").verdict == Verdict::kCorrect) {
        ++crossed;
        std::printf("%s: '%s' accepts '%s'\n", file, gold.c_str(), previous.c_str());
      }
      previous = gold;
    }
    if (total == 0) return;
    std::printf(
        "%s: %d golds: %d numbers, %d other trees, %d words, %d not understood; %d accept themselves, %d against the "
        "solution's box, %d accept their neighbour\n",
        file, total, numbers, trees, words, unread, self, solution, crossed);
    CHECK(unread <= total * 0.005);
    CHECK(self == total);
  }
}

TEST_CASE("MATH golds with one digit, sign or bracket changed are refused") {
  const auto math = make_reward("math");
  int tried = 0, accepted = 0;
  for (const char* file :
       {"math/train_4500.jsonl", "competition_math/aime2024.jsonl", "competition_math/hmmt_feb2025.jsonl"}) {
    for (const json& row : rows(file)) {
      const std::string gold = row["answer"].is_string() ? row["answer"].get<std::string>() : row["answer"].dump();
      const Prompt p = with_gold(gold);
      for (std::size_t i = 0; i < gold.size(); ++i) {
        std::string mutant = gold;
        if (gold[i] >= '0' && gold[i] <= '9') mutant[i] = static_cast<char>('0' + (gold[i] - '0' + 1) % 10);
        else if (gold[i] == '+' || gold[i] == '-') mutant[i] = gold[i] == '+' ? '-' : '+';
        else if (gold[i] == '[' || gold[i] == '(') mutant[i] = gold[i] == '[' ? '(' : '[';
        else continue;
        ++tried;
        if (score(*math, p, "\\boxed{" + mutant + "}").verdict != Verdict::kCorrect) continue;
        ++accepted;
        std::printf("'%s' accepts '%s'\n", gold.c_str(), mutant.c_str());
      }
      if (const auto read = math::read_gold(gold); read->is_number() && read->parsed.tree.numbers[0].value != 0) {
        ++tried;
        const bool negative = score(*math, p, "\\boxed{-(" + gold + ")}").verdict == Verdict::kCorrect;
        accepted += negative;
        if (negative) std::printf("'%s' accepts itself negated\n", gold.c_str());
      }
    }
  }
  if (tried == 0) return;
  std::printf("mutated golds: %d accepted of %d\n", accepted, tried);
  CHECK(accepted == 0);
}

TEST_CASE("short word problems and Chinese problems: golds are numbers and accept themselves") {
  const auto math = make_reward("math");
  const std::vector<std::pair<const char*, const char*>> files = {{"word_problems/svamp_train.jsonl", "final"},
                                                                  {"word_problems/mawps_train.jsonl", "final"},
                                                                  {"chinese_math/cmath_test.jsonl", "golden"},
                                                                  {"chinese_math/mgsm_zh.jsonl", "final"}};
  for (const auto& [file, column] : files) {
    int total = 0, good = 0;
    for (const json& row : rows(file)) {
      const std::string gold = row[column].is_string() ? row[column].get<std::string>() : row[column].dump();
      ++total;
      const auto parsed = math::read_gold(gold);
      good += parsed && parsed->is_number() &&
              score(*math, with_gold(gold), "\u7B54\u6848\u662F " + gold + "\u3002").verdict == Verdict::kCorrect;
      if (!(parsed && parsed->is_number())) std::printf("%s: no number: %s\n", file, gold.c_str());
    }
    if (total == 0) return;
    std::printf("%s: %d of %d\n", file, good, total);
    CHECK(good >= total * 0.995);
  }
}

TEST_CASE("quick-start tasks: known solutions score 1, others do not") {
  for (const int level : {2, 3, 4}) {
    const auto countdown = make_reward("countdown", "{read: tag}");
    const auto lenient = make_reward("countdown");
    for (const char* split : {"train", "test"}) {
      for (const json& row : rows("quickstart_tasks/countdown" + std::to_string(level) + "_" + split + ".jsonl")) {
        Prompt p;
        p.id = row["id"];
        for (const auto& [key, value] : row.items()) p.columns[key] = value.dump();
        const std::string solution = row["solution"];
        CHECK(countdown->check_prompt(p).empty());
        CHECK(score(*countdown, p, "<answer>" + solution + "</answer>").value == 1.f);
        CHECK(score(*lenient, p, "We get " + solution + " = " + row["target"].dump() + ".").value == 1.f);
        CHECK(score(*countdown, p, "<answer>" + row["target"].dump() + "</answer>").value == (level == 1 ? 1.f : 0.1f));
        CHECK(score(*countdown, p, "<answer>" + solution + " + 0</answer>").value == 0.1f);
        for (const KnownAnswer& known : countdown->known_answers(p))
          CHECK(score(*countdown, p, known.completion.text).value == known.value);
      }
    }
  }
  const auto quick = make_reward("math", "{extract: last_number, require_end: true}");
  const auto exact = make_reward("exact_match");
  for (const char* task : {"add1", "add2", "add3", "sub1", "mul1", "chain2", "max2", "letter_count1"}) {
    for (const json& row : rows(std::string("quickstart_tasks/") + task + "_train.jsonl")) {
      const Prompt p = with_gold(row["answer"].get<std::string>());
      CHECK(score(*quick, p, "The result is " + p.reference + ".").value == 1.f);
      CHECK(score(*quick, p, "The result is " + p.reference + "0.").value == (p.reference == "0" ? 1.f : 0.f));
    }
  }
  for (const char* task : {"sort3", "repeat3", "reverse4"}) {
    for (const json& row : rows(std::string("quickstart_tasks/") + task + "_train.jsonl")) {
      CHECK(score(*exact, with_gold(row["answer"].get<std::string>()), row["answer"].get<std::string>() + "\n").value ==
            1.f);
    }
  }
}

}  // namespace
}  // namespace r1
