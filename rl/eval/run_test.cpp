// From samples to numbers, and back from a folder; kills in the middle.
#include "rl/eval/run_benchmark.h"

#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <thread>

#include <nlohmann/json.hpp>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/signals.h"
#include "rl/eval/report.h"
#include "rl/eval/sample_store.h"
#include "rollout/scripted_engine.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

using test::contains;
using test::error_of;

GradedSample sample_of(const std::string& id, int number, const std::string& answer, bool strict, bool lenient, StopReason stop = StopReason::kEos) {
  GradedSample s;
  s.id = id;
  s.sample = number;
  s.text = "text of " + id;
  s.stop = stop;
  s.tokens = 10 + number;
  s.strict = {strict ? Verdict::kCorrect : Verdict::kWrong, strict ? 1.0 : 0.0, strict ? "exact" : "value", strict ? answer : ""};
  s.lenient = Grade{lenient ? Verdict::kCorrect : Verdict::kWrong, lenient ? 1.0 : 0.0, "x", answer};
  return s;
}

TEST_CASE("pass@1, pass@k, cons@k, truncation, strict and lenient: by hand") {
  // Item a: 3 of 4 right, item b: 1 of 4 right with two equal wrong answers, item c: none right.
  std::vector<GradedSample> samples = {sample_of("a", 0, "1", true, true),   sample_of("a", 1, "1", true, true),
                                       sample_of("a", 2, "9", false, false), sample_of("a", 3, "1.0", false, true),
                                       sample_of("b", 0, "5", false, false), sample_of("b", 1, "2", true, true),
                                       sample_of("b", 2, "5", false, false), sample_of("b", 3, "7", false, false, StopReason::kLength),
                                       sample_of("c", 0, "", false, false),  sample_of("c", 1, "", false, false),
                                       sample_of("c", 2, "", false, false),  sample_of("c", 3, "", false, false, StopReason::kLength)};
  std::swap(samples[0], samples[3]);  // their numbers count, not the order
  ResultOptions o;
  o.pass_k = {2, 3};
  o.votes = VoteEquality::kMaths;
  const BenchmarkResult r = summarise("t", samples, {{"a", "1"}, {"b", "2"}, {"c", "3"}}, o);
  REQUIRE(r.parts.size() == 1);
  const PartResult& p = r.parts[0];
  CHECK(p.items == 3);
  CHECK(p.samples == 4);
  CHECK(p.completions == 12);
  CHECK(p.truncated == doctest::Approx(2.0 / 12));
  CHECK(p.mean_tokens == 11.5);
  CHECK(p.strict.pass1 == doctest::Approx((2.0 / 4 + 1.0 / 4) / 3));
  REQUIRE(p.lenient);
  CHECK(p.lenient->pass1 == doctest::Approx((3.0 / 4 + 1.0 / 4) / 3));
  // 1 - C(n-c,k)/C(n,k): a 1 - 0/6, b 1 - 3/6, c 0.
  CHECK(p.lenient->pass_at.at(2) == doctest::Approx((1 + 0.5) / 3));
  CHECK(p.lenient->pass_at.at(3) == doctest::Approx((1 + 0.75) / 3));
  // Of the first 2: a "1" right; b "5" first of a tie, wrong. Of 3: b "5" twice.
  CHECK(p.lenient->cons_at.at(2) == doctest::Approx(1.0 / 3));
  CHECK(p.lenient->cons_at.at(3) == doctest::Approx(1.0 / 3));
  // sqrt(sum p(1-p)/(k-1)) / N with p = 3/4, 1/4, 0.
  CHECK(p.lenient->sampling_error == doctest::Approx(std::sqrt(2 * (0.75 * 0.25) / 3) / 3));
  CHECK(p.lenient->verdicts.at("ok") == 4);
  CHECK(p.lenient->verdicts.at("wrong") == 8);
  CHECK(p.smallest_detectable == doctest::Approx(smallest_detectable_unpaired(p.lenient->standard_error)));
  CHECK(r.items[0].majority == "1");
  CHECK(r.items[1].majority == "5");
  CHECK(r.items[2].majority.empty());
  CHECK(r.items[0].strict == 2);
  CHECK(r.items[0].lenient == 3);
  // A vote's winner counts as its own grading says.
  o.pass_k = {2};
  const std::vector<GradedSample> loose = {sample_of("d", 0, "1.0", false, true), sample_of("d", 1, "1.0", false, true)};
  const BenchmarkResult d = summarise("t", loose, {}, o);
  CHECK(d.parts.at(0).lenient->cons_at.at(2) == 1);
  CHECK(d.parts.at(0).strict.cons_at.at(2) == 0);
  o.pass_k = {5};
  CHECK(contains(error_of([&] { summarise("t", samples, {}, o); }), "k = 5 needs at least 5 samples"));
  CHECK(contains(error_of([&] { summarise("t", {}, {}, o); }), "no completion"));
  const std::string table = results_table({&r, 1});
  CHECK(contains(table, "lenient"));
  CHECK(contains(table, "@2 50.0 @3 58.3"));
  const Json json = Json::parse(results_json({&r, 1}));
  CHECK(json["benchmarks"]["t"]["sampled"]["lenient"]["pass@2"].get<double>() == doctest::Approx(0.5));
  CHECK(json["benchmarks"]["t"]["sampled"]["truncated"].get<double>() == doctest::Approx(2.0 / 12));
}

TEST_CASE("what the table says below itself: rewards without a verdict, grades that failed, incomplete files") {
  std::vector<GradedSample> samples = {sample_of("a", 0, "", false, false), sample_of("b", 0, "", false, false)};
  for (GradedSample& s : samples) s.lenient.reset(), s.strict = {Verdict::kAbstain, 0.25, "", ""};
  BenchmarkResult r = summarise("t", samples, {}, {});
  CHECK(contains(results_table({&r, 1}), "t, sampled: these rewards say nothing about right or wrong; mean reward 0.2500"));
  CHECK_FALSE(contains(results_table({&r, 1}), "must differ by"));  // all items equal
  samples[0].strict.verdict = Verdict::kError;
  r = summarise("t", samples, {}, {});
  r.rows_of_set = 30;
  CHECK(contains(results_table({&r, 1}), "1 of 2 completions could not be graded"));
  CHECK(contains(results_table({&r, 1}), "2 items; the whole set has 30"));
  CHECK_FALSE(contains(results_table({&r, 1}), "say nothing"));
}

TEST_CASE("a line of the samples file reads back as it was") {
  GradedSample s = sample_of("an \"id\"\n", 3, "1/2", true, false, StopReason::kLength);
  s.text = "bytes \xff and\ttabs";
  s.greedy = true;
  GradedSample t = sample_of_line(to_line(s));
  CHECK(t.text == "bytes \xef\xbf\xbd and\ttabs");
  t.text = s.text;
  CHECK(to_line(t) == to_line(s));
  CHECK(t.greedy);
  s.lenient.reset();
  CHECK_FALSE(sample_of_line(to_line(s)).lenient);
  CHECK_THROWS_AS(sample_of_line("{}"), DataError);
  CHECK_THROWS_AS(sample_of_line(R"({"id": "a", "part": "greedy")"), DataError);
}

// Answers i for prompt i, wrongly for every third sample.
Completion answer(const RolloutRequest& r, int sample) {
  const int number = static_cast<int>(r.key.sample) + sample;
  Completion c;
  c.text = message("It is \\boxed{", number % 3 == 2 && r.sampling.temperature > 0 ? "-1" : r.prompt.id, "}.");
  c.tokens = {1, 2, 3};
  c.stop = number == 1 ? StopReason::kLength : StopReason::kEos;
  return c;
}

BenchmarkRun run_of(const std::filesystem::path& out, int samples = 4) {
  BenchmarkRun run;
  run.benchmark =
      parse_benchmark("{name: numbers, template: '{question}', strict: {name: math, extract: boxed}, lenient: {name: math}, vote: true}", "numbers");
  for (int i = 1; i <= 20; ++i) {
    Prompt p;
    p.id = p.reference = p.text = std::to_string(i);
    run.prompts.push_back(p);
  }
  run.greedy = true;
  run.samples = samples;
  run.grading_threads = 2;
  run.out = out;
  return run;
}

TEST_CASE("an engine's evaluation: greedy and sampled parts, a folder that reads back, equal items compared") {
  const test::TempDir dir;
  ScriptedEngine engine(answer);
  const auto source = make_engine_source(engine);
  BenchmarkRun run = run_of(dir / "a");
  const Grader grader(run.benchmark);
  std::int64_t last = 0;
  run.progress = [&](std::int64_t done, std::int64_t total) {
    CHECK(total == 100);
    last = std::max(last, done);
  };
  const BenchmarkResult a = run_benchmark(run, grader, *source);
  CHECK(last == 100);
  REQUIRE(a.parts.size() == 2);
  CHECK(a.parts[0].greedy);
  CHECK(a.parts[0].strict.pass1 == 1);
  CHECK(a.parts[1].strict.pass1 == 0.75);  // sample 2 of 0..3
  CHECK(a.parts[1].strict.cons_at.at(4) == 1);
  CHECK(a.parts[1].truncated == 0.25);
  CHECK(a.parts[1].mean_tokens == 3);
  CHECK(results_in(dir / "a") == std::vector<std::string>{"numbers"});
  const BenchmarkResult again = load_result(dir / "a", "numbers");
  CHECK(results_json({&again, 1}) == results_json({&a, 1}));

  // Another model, wrong on the first five prompts.
  ScriptedEngine worse([](const RolloutRequest& r, int sample) {
    Completion c = answer(r, sample);
    if (std::stoi(r.prompt.id) <= 5) c.text = "no idea";
    return c;
  });
  const BenchmarkResult b = run_benchmark(run_of(dir / "b"), grader, *make_engine_source(worse));
  const auto rows = compare_results({&a, 1}, {&b, 1}, 0);
  REQUIRE(rows.size() == 4);  // greedy and sampled, strict and lenient
  CHECK(rows[0].test.difference == doctest::Approx(-0.25));
  CHECK(rows[0].test.only_a == 5);
  CHECK(rows[0].test.mcnemar_p == doctest::Approx(2.0 / 32));
  CHECK(rows[0].test.permutation.p == doctest::Approx(2.0 / 32));
  CHECK(contains(comparison_table(rows, "x", "y"), "no difference shown at 5 %"));
  CHECK(Json::parse(comparison_json(rows, "x", "y"))["comparisons"].size() == 4);
  BenchmarkRun fewer = run_of(dir / "c");
  fewer.prompts.pop_back();
  const BenchmarkResult c = run_benchmark(fewer, grader, *source);
  CHECK(contains(error_of([&] { compare_results({&a, 1}, {&c, 1}, 0); }), "item 20 was evaluated on one side only"));
  CHECK(contains(error_of([&] { compare_results({&c, 1}, {&a, 1}, 0); }), "needs the same"));
  fewer.prompts.push_back(fewer.prompts[0]);
  fewer.out.clear();
  CHECK(contains(error_of([&] { run_benchmark(fewer, grader, *source); }), "the id 1 comes twice"));
}

TEST_CASE("a run killed at any sample and started again leaves the bytes of one that was not") {
  const test::TempDir dir;
  ScriptedEngine engine(answer);
  const BenchmarkRun whole = run_of(dir / "whole");
  const Grader grader(whole.benchmark);
  run_benchmark(whole, grader, *make_engine_source(engine));
  for (const int lines : {0, 1, 37, 99}) {
    const std::filesystem::path out = dir / message("killed", lines);
    const pid_t child = fork();
    if (child == 0) {
      // Dies by its own hand, in the middle of a line behind `lines` whole ones.
      int written = 0;
      set_file_fault_hook([&](FileOp op, const std::filesystem::path& path) {
        if (op != FileOp::kWrite || path.filename() != "numbers.samples.jsonl") return kSkipSync * (op == FileOp::kSync);
        if (written++ < lines) return 0;
        std::ofstream(path, std::ios::app) << R"({"id":"3","part":"sam)" << std::flush;
        kill(getpid(), SIGKILL);
        return 0;
      });
      ScriptedEngine mine(answer);
      BenchmarkRun run = run_of(out);
      run.grading_threads = 1;
      run_benchmark(run, grader, *make_engine_source(mine));
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    REQUIRE(WIFSIGNALED(status));
    CHECK_FALSE(std::filesystem::exists(out / "numbers.items.jsonl"));
    CHECK(contains(error_of([&] { load_result(out, "numbers"); }), "has not ended"));
    int asked = 0;
    ScriptedEngine rest([&](const RolloutRequest& r, int sample) {
      ++asked;
      return answer(r, sample);
    });
    run_benchmark(run_of(out), grader, *make_engine_source(rest));
    CHECK(asked == 100 - lines);
    for (const char* file : {"numbers.samples.jsonl", "numbers.items.jsonl", "numbers.settings.json"})
      CHECK(read_file(dir / "whole" / file) == read_file(out / file));
  }
}

TEST_CASE("more samples are added to those that are there; fewer are refused") {
  const test::TempDir dir;
  int asked = 0;
  ScriptedEngine engine([&](const RolloutRequest& r, int sample) {
    ++asked;
    return answer(r, sample);
  });
  const auto source = make_engine_source(engine);
  const auto settings = [](BenchmarkRun run) {
    run.settings_json = Json{{"samples", run.samples}, {"greedy", run.greedy}}.dump();
    return run;
  };
  BenchmarkRun small = run_of(dir / "grown", 4);
  const Grader grader(small.benchmark);
  small.greedy = false;
  run_benchmark(settings(small), grader, *source);
  asked = 0;
  run_benchmark(settings(run_of(dir / "grown", 6)), grader, *source);
  CHECK(asked == 20 * 3);  // two more samples, and the greedy part
  run_benchmark(settings(run_of(dir / "whole", 6)), grader, *source);
  for (const char* file : {"numbers.samples.jsonl", "numbers.items.jsonl", "numbers.settings.json"})
    CHECK(read_file(dir / "whole" / file) == read_file(dir / "grown" / file));
  CHECK(contains(error_of([&] { run_benchmark(settings(run_of(dir / "grown", 4)), grader, *source); }), "samples was 6, is 4"));
}

TEST_CASE("a stop signal keeps what was sampled; the next call goes on") {
  const test::TempDir dir;
  int asked = 0;
  ScriptedEngine engine([&](const RolloutRequest& r, int sample) {
    if (++asked == 30) request_stop();
    return answer(r, sample);
  });
  const BenchmarkRun run = run_of(dir.path());
  const Grader grader(run.benchmark);
  CHECK_THROWS_AS(run_benchmark(run, grader, *make_engine_source(engine)), Interrupted);
  reset_stop_for_tests();
  run_benchmark(run, grader, *make_engine_source(engine));
  CHECK(asked == 100);
}

}  // namespace
}  // namespace r1
