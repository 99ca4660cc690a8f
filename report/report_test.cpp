// The numbers that end in the page.
#include <cmath>

#include <doctest/doctest.h>

#include "core/files.h"
#include "report/chart_frame.h"
#include "report/cost.h"
#include "report/html.h"
#include "report/sections.h"
#include "report/series.h"
#include "report/svg_chart.h"
#include "report/text_signs.h"
#include "tests/support/support.h"

namespace r1::report {
namespace {

RunData run_of(std::vector<MetricRow> rows) {
  RunData run;
  run.metrics = std::move(rows);
  return run;
}

TEST_CASE("report: a line takes the last record of a step, in the order of steps") {
  const RunData run = run_of({{1, 0, {{"a", 1}}}, {3, 0, {{"a", 3}}}, {2, 0, {{"a", 2}, {"b", 9}}}, {3, 0, {{"a", 5}}}});
  const Line line = line_of(run, "a");
  REQUIRE(line.size() == 3);
  CHECK(line[1].step == 2);
  CHECK(line[2].value == 5);
  CHECK(line_of(run, "c").empty());
}

TEST_CASE("report: the mean over seeds stands only where all seeds have the step") {
  const Line a = {{1, 1}, {2, 2}, {3, 3}}, b = {{1, 3}, {3, 7}};
  const std::vector<Line> lines = {a, b, {}};
  const Line mean = mean_line(lines);
  REQUIRE(mean.size() == 2);
  CHECK(mean[0].value == 2);
  CHECK(mean[1].step == 3);
  CHECK(mean[1].value == 5);
  CHECK(mean_line(std::vector<Line>{a, {}}).empty());
  CHECK(sample_deviation(std::vector<double>{1, 2, 3, 4}) == doctest::Approx(1.2909944487));
  CHECK(sample_deviation(std::vector<double>{11.85, 11.850000000000001, 11.85}) == 0);
  CHECK(std::isnan(sample_deviation(std::vector<double>{1})));
}

TEST_CASE("report: evenly spread indices keep both ends") {
  CHECK(spread_indices(3, 5) == std::vector<std::size_t>{0, 1, 2});
  CHECK(spread_indices(9, 3) == std::vector<std::size_t>{0, 4, 8});
  CHECK(spread_indices(4, 1) == std::vector<std::size_t>{3});
  CHECK(spread_indices(0, 4).empty());
}

TEST_CASE("report: ticks are round and cover the values") {
  CHECK(nice_ticks(0, 1, 6) == std::vector<double>{0, 0.2, 0.4, 0.2 * 3, 0.8, 1});
  const auto ticks = nice_ticks(-3, 12, 5);
  CHECK(ticks.front() == -5);
  CHECK(ticks.back() == 15);
  CHECK(tick_label(10.48, 0.0002) == "10.4800");
  CHECK(tick_label(0, 0.5) == "0.0");
  CHECK(tick_label(20, 5) == "20");
  const auto flat = nice_ticks(7, 7, 5);
  CHECK(flat.size() >= 2);
  CHECK(flat.front() <= 7);
  CHECK(flat.back() >= 7);
}

TEST_CASE("report: reflective words stand alone, whatever their case; Chinese ones need no spaces") {
  const auto counts = count_reflective("Wait, the waiter waits. However... WAIT! Let me check: check. 我重新检查，重新。");
  CHECK(counts.at("wait") == 2);
  CHECK(counts.at("however") == 1);
  CHECK(counts.at("check") == 2);
  CHECK(counts.at("let me check") == 1);
  CHECK(counts.at("重新") == 2);
  CHECK(counts.at("检查") == 1);
  CHECK_FALSE(counts.contains("but"));
  CHECK(count_reflective("buttery éwait waité").empty());
}

TEST_CASE("report: mixed means a tenth of the words or more in another language") {
  CHECK(is_mixed({{"en", 9}, {"zh", 1}}));
  CHECK_FALSE(is_mixed({{"en", 10}, {"zh", 1}}));
  CHECK_FALSE(is_mixed({{"en", 2}, {"zh", 2}}));
  CHECK_FALSE(is_mixed({{"en", 9}, {"unsure", 5}}));
  const auto words = words_by_language("The sum of these numbers is forty and this is the answer. 四是正确的答案因为二加二等于四。");
  CHECK(words.contains("zh"));
  CHECK(is_mixed(words));
}

TEST_CASE("report: phases of a step add up to the step, overlap is not counted twice") {
  const RunData run = run_of({{1, 0, {{"timing_s/gen", 2}, {"timing_s/update_actor", 3}, {"timing_s/reward_cpu", 50}, {"timing_s/step", 6}}},
                              {1, 0, {{"eval/seconds", 4}}},
                              {2, 0, {{"timing_s/gen", 5}, {"timing_s/step", 4}}}});
  const auto steps = phases_by_step(run);
  REQUIRE(steps.size() == 2);
  CHECK(steps[0].seconds == std::map<std::string, double>{{"evaluate", 4}, {"generate", 2}, {"other", 1}, {"update", 3}});
  CHECK(steps[1].seconds.at("other") == 0);
}

TEST_CASE("report: a phase has the same colour in every chart, whatever its share") {
  RunData first = run_of({{1, 0, {{"timing_s/gen", 9}, {"timing_s/update_actor", 1}, {"timing_s/step", 10}}}});
  RunData second = run_of({{1, 0, {{"timing_s/gen", 1}, {"timing_s/update_actor", 9}, {"timing_s/step", 10}}}});
  first.name = "first", second.name = "second";
  const std::string html = cost_section(std::vector<RunData>{first, second});
  const auto swatches = [&](const char* text) {
    std::size_t n = 0;
    for (std::size_t at = html.find(text); at != std::string::npos; at = html.find(text, at + 1)) ++n;
    return n;
  };
  CHECK(swatches("<span class=\"swatch c0\"></span>generate") == 2);
  CHECK(swatches("<span class=\"swatch c1\"></span>update") == 2);
}

TEST_CASE("report: charts leave out what is not finite and draw nothing from nothing") {
  CHECK(line_chart({"empty", "", "", {}}, "a").empty());
  const double nan = std::nan("");
  CHECK(line_chart({"nan", "", "", {{"x", 0, 0, ChartLine::Weight::kNormal, {{1, nan}}, {}, {}}}}, "a").empty());
  const std::string one = line_chart({"T", "%", "", {{"x", 0, 0, ChartLine::Weight::kNormal, {{1, 0.25}, {2, nan}, {3, 0.5}}, {}, {}}}}, "a");
  CHECK(one.find("nan") == std::string::npos);
  CHECK(one.find("25.0 % at step 1, 50.0 % at step 3") != std::string::npos);
}

TEST_CASE("report: stacked shares fill the axis, sums and means are told") {
  const StackedBars seconds{"Time", "s", "", {"a", "b"}, {}, {{1, {1, 2}}, {2, {3, 4}}}};
  CHECK(stacked_chart(seconds, "x").find("Sums over the run: a 4 s, b 6 s.") != std::string::npos);
  const std::string shares = stacked_chart({"V", "%", "", {"ok", "wrong"}, {2, 1}, {{1, {0.25, 0.75}}, {2, {0.75, 0.25}}}}, "x");
  CHECK(shares.find("Means over the steps: ok 50.0 %, wrong 50.0 %.") != std::string::npos);
  // The plot is 190 units high and ends at y = 10.
  CHECK(shares.find("y=\"10.0\"") != std::string::npos);
  CHECK(shares.find("height=\"47.5\"") != std::string::npos);
  CHECK(shares.find("class=\"bar c2\"") != std::string::npos);
  CHECK(stacked_chart({"V", "%", "", {}, {}, {}}, "x").empty());
}

TEST_CASE("report: the text of a run cannot become markup") {
  CHECK(escape("<a href=\"x\">&\x01\xff") == "&lt;a href=&quot;x&quot;&gt;&amp;\xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK(percent(0.8333) == "83.3 %");
}

TEST_CASE("report: a torn last line costs that line, a damaged file its part") {
  const test::TempDir dir;
  write_file_atomic(dir.path() / "config.yaml", "kind: grpo\nseed: 3\nrl: {steps: 2}\n");
  write_file_atomic(dir.path() / "metrics.jsonl", "{\"step\":1,\"time\":5,\"reward\":0.5,\"kl\":null}\n{\"step\":2,\"rew");
  write_file_atomic(dir.path() / "environment.json", "{");
  const RunData run = load_run(dir.path());
  REQUIRE(run.metrics.size() == 1);
  CHECK(run.metrics[0].values == std::map<std::string, double>{{"reward", 0.5}});
  CHECK(run.kind == "grpo");
  write_file_atomic(dir.path() / "config.yaml", "kind: grpo\nseed: 4\neval: {seed: 4}\noutput: {dir: x}\nrl: {steps: 2}\n");
  CHECK(load_run(dir.path()).group == run.group);
  write_file_atomic(dir.path() / "config.yaml",
      "kind: grpo  # recipes/x.yaml:1\nseed: 3  # command line: seed=3\nrl:\n  steps: 3  # recipes/x.yaml:4\n");
  const RunData other = load_run(dir.path());
  CHECK(other.group != run.group);
  CHECK(other.config.back().origin == "recipes/x.yaml:4");
  CHECK(run.seed == "3");
  CHECK_FALSE(run.finished);
  REQUIRE(run.problems.size() == 2);
  CHECK(run.problems[0].find("environment.json is damaged") == 0);
  CHECK(run.problems[1].find("the last line is torn") != std::string::npos);
}

}  // namespace
}  // namespace r1::report
