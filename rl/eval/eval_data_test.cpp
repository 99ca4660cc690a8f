// The team's optional data folder: every benchmark whose file is there loads, and its golds, dressed as the prompt asks
// for them, grade to 100 %, strictly and leniently.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/thread_pool.h"
#include "rewards/code/isolation.h"
#include "rl/eval/benchmark.h"
#include "rl/eval/forms.h"
#include "rl/eval/results.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

std::string column(const Prompt& p, const char* name) {
  const auto it = p.columns.find(name);
  return it == p.columns.end() ? "" : nlohmann::json::parse(it->second).get<std::string>();
}

// A completion that says the gold.
std::string gold_text(const Benchmark& b, const Prompt& p) {
  if (b.name == "humaneval") return "```python\n" + column(p, "prompt_of_row") + column(p, "canonical_solution") + "\n```";
  if (b.name == "mbpp") return "```python\n" + column(p, "code") + "\n```";
  return b.name == "gsm8k" ? "So it is that.\n#### " + p.reference : "So it is \\boxed{" + p.reference + "}.";
}

void check_golds(const char* name, std::size_t rows, std::size_t step) {
  const auto dir = test::shared_dir();
  if (dir.empty()) return test::skip("no shared data folder");
  const Benchmark b = load_benchmark(name);
  std::vector<Row> data = benchmark_rows(b, {find_benchmark_data(b, dir).string()}, 0, 0);
  CHECK_MESSAGE(data.size() == rows, name);
  std::vector<Prompt> prompts = unrendered_prompts(data);
  const Grader grader(b);
  const PromptCheck check = grader.check_prompts(prompts);
  CHECK_MESSAGE(check.problems.empty(), name, ": ", check.summary());
  std::vector<GradedSample> samples;
  for (std::size_t i = 0; i < prompts.size(); i += step) {
    if (b.name == "humaneval") {  // its own prompt column was replaced by the question
      const auto tests = nlohmann::json::parse(data[i].columns.at("tests"));
      prompts[i].columns["prompt_of_row"] = tests[0]["prelude"].dump();
    }
    GradedSample s;
    s.id = prompts[i].id;
    s.text = gold_text(b, prompts[i]);
    samples.push_back(s);
  }
  {
    ThreadPool pool(2, 4096);
    for (std::size_t i = 0; i < samples.size(); ++i) pool.submit([&, i] { grader.grade(prompts[i * step], samples[i]); });
  }
  ResultOptions o;
  o.votes = grader.votes();
  const PartResult p = summarise(name, samples, {}, o).parts.at(0);
  for (const GradedSample& s : samples) {
    CHECK_MESSAGE(s.strict.verdict == Verdict::kCorrect, name, " ", s.id, " strict: ", s.strict.detail, ": ", s.text);
    if (s.lenient) CHECK_MESSAGE(s.lenient->verdict == Verdict::kCorrect, name, " ", s.id, " lenient: ", s.lenient->detail, ": ", s.text);
  }
  CHECK(p.strict.pass1 == 1);
  std::printf("%s: %zu rows, %zu golds graded, strict %.1f %%, lenient %.1f %%\n", name, rows, samples.size(), 100 * p.strict.pass1,
              100 * (p.lenient ? p.lenient->pass1 : p.strict.pass1));
}

TEST_CASE("maths benchmarks: golds are right") {
  check_golds("gsm8k", 660, 1);
  check_golds("math500", 250, 1);
  check_golds("aime2024", 30, 1);
  check_golds("aime2025", 30, 1);
  check_golds("amc2023", 40, 1);
  check_golds("hmmt_feb2025", 30, 1);
  check_golds("cmath", 1098, 1);
  check_golds("mgsm_zh", 250, 1);
  check_golds("svamp", 300, 1);
  check_golds("mawps", 300, 1);
}

TEST_CASE("code benchmarks: canonical solutions are right") {
  if (!code::host_guarantees().namespaces) return test::skip(code::host_guarantees().problem.c_str());
  const std::size_t step = std::getenv("R1_TEST_FULL") ? 1 : 25;
  check_golds("humaneval", 164, step);
  check_golds("mbpp", 500, step);
}

}  // namespace
}  // namespace r1
