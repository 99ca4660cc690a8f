// Completions made elsewhere. tests/golden/lm_eval_samples.jsonl was written by lm-evaluation-harness (lm_eval_samples.py).
#include "rl/eval/completions_file.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "rl/eval/report.h"
#include "rl/eval/run_benchmark.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

std::string fixture() { return std::string(R1_SOURCE_DIR) + "/tests/golden/lm_eval_samples.jsonl"; }

TEST_CASE("lm-evaluation-harness and this program on the same completions") {
  const Benchmark b = load_benchmark("gsm8k");
  CompletionsOptions o;
  o.file = fixture();
  const CompletionsResult r = grade_completions(b, Grader(b), o);
  CHECK(r.samples.size() == 28);  // two filters a document are one completion
  REQUIRE(r.agreements.size() == 2);
  const Agreement& flexible = r.agreements[0];
  const Agreement& strict = r.agreements[1];
  CHECK(flexible.name == "flexible-extract");
  CHECK(flexible.lenient);
  CHECK(flexible.theirs == 21);
  CHECK(strict.name == "strict-match");
  CHECK_FALSE(strict.lenient);
  CHECK(strict.theirs == 14);
  // Every difference is one of notation, by name: an equal number in another text ("18.00"), a dollar sign or a unit that
  // their pattern stops at, the first of two marks.
  CHECK(flexible.only_theirs == 0);
  CHECK(flexible.only_ours == 1);
  CHECK(strict.only_theirs == 1);
  CHECK(strict.only_ours == 3);
  std::string all;
  for (const Agreement& a : r.agreements)
    for (const std::string& line : a.differing) all += a.name + " " + line + "\n";
  for (const char* part :
       {"flexible-extract 6: gold '18', right here", "strict-match 6: gold '18', right here", "strict-match 1: gold '18', right here",
        "strict-match 20: gold '5', right here", "strict-match 22: gold '40', wrong here"})
    CHECK_MESSAGE(all.find(part) != std::string::npos, part, " in\n", all);
  // Both scores lie in each other's 95 % interval.
  const PartResult& p = r.result.parts.at(0);
  CHECK(p.strict.interval.low < 14.0 / 28);
  CHECK(p.strict.interval.high > 14.0 / 28);
  CHECK(agreement_table(r.agreements).find("strict-match") != std::string::npos);
}

TEST_CASE("rows with completion columns, groups, our own samples, joins by id") {
  const test::TempDir dir;
  const Benchmark b = load_benchmark("gsm8k");
  const Grader grader(b);
  CompletionsOptions o;
  o.file = (dir / "rows.jsonl").string();
  std::ofstream(o.file)
      << R"({"id": "x", "question": "2 + 2?", "answer": "#### 4", "completions": ["#### 4", {"text": "#### 5", "finish_reason": "length"}]})"
      << "\n"
      << R"({"id": "y", "question": "3?", "answer": "3", "completions": ["it is 3", "#### 3"]})"
      << "\n";
  CompletionsResult r = grade_completions(b, grader, o);
  REQUIRE(r.result.parts.size() == 1);
  CHECK(r.result.parts[0].samples == 2);
  CHECK(r.result.parts[0].strict.pass1 == 0.5);
  CHECK(r.result.parts[0].lenient->pass1 == 0.75);
  CHECK(r.result.parts[0].truncated == 0.25);
  CHECK(r.agreements.empty());

  // What was graded is written as samples, which grade the same again, joined with the data by id.
  keep_result(dir / "out", r.result, r.samples, r.counting);
  const BenchmarkResult kept = load_result(dir / "out", "gsm8k");
  CHECK(results_json({&kept, 1}) == results_json({&r.result, 1}));
  CompletionsOptions again;
  again.file = (dir / "out" / "gsm8k.samples.jsonl").string();
  again.data = o.file;
  const CompletionsResult s = grade_completions(b, grader, again);
  CHECK(results_json({&s.result, 1}) == results_json({&r.result, 1}));
  std::ofstream(dir / "other.jsonl") << R"({"id": "z", "question": "2 + 2?", "answer": "4"})" << "\n";
  again.data = (dir / "other.jsonl").string();
  try {
    grade_completions(b, grader, again);
    FAIL("an id without a row");
  } catch (const DataError& e) {
    CHECK(std::string(e.what()).find("the id 'x' is in no row of") != std::string::npos);
  }
  std::ofstream(o.file) << R"({"question": "q", "answer": "", "completion": "1"})" << "\n";
  CHECK_THROWS_AS(grade_completions(b, grader, o), DataError);  // no gold
  std::ofstream(o.file) << R"({"doc": {"question": "q", "answer": "1"}, "resps": [[["-1.5", "True"]]], "filter": "none"})" << "\n";
  CHECK_THROWS_AS(grade_completions(b, grader, o), DataError);  // a multiple-choice task
}

}  // namespace
}  // namespace r1
