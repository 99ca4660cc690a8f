#include <doctest/doctest.h>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/run_folder.h"
#include "rl/table_run.h"
#include "rl/run_recorder.h"
#include "tests/support/support.h"
#include "watch/sample_flags.h"
#include "watch/terminal_view.h"
#include "watch/watch_data.h"
#include "watch/watch_server.h"

namespace r1::watch {
namespace {

using Json = nlohmann::json;

// Six updates of two rollouts, each of three groups of six.
struct Run {
  test::TempDir dir;
  explicit Run(std::int64_t steps = 6) {
    test::RunOptions o;
    o.trainer.steps = steps;
    o.trainer.prompts_per_rollout = 3;
    o.trainer.samples_per_prompt = 6;
    o.trainer.sampling.max_new_tokens = 3;
    o.trainer.sampling.want_entropy = true;
    o.grpo.updates_per_rollout = 3;
    o.grpo.optimizer.learning_rate.peak = 0.5;
    MetricsWriter::Options options;
    options.jsonl = dir / "metrics.jsonl";
    MetricsWriter metrics(options);
    RunRecorder::Options record;
    record.samples_every = 0;
    RunRecorder numbers(&metrics, record);
    RolloutRecorder rollouts({dir / "rollouts", 1 << 30});
    test::TableRun run(o, {}, {&numbers, &rollouts}, [](const SampleGroup& g) {
      auto scores = test::score_bandit(g, test::TableRun::kVocab);
      // A prompt's first sample is hostile to a page and to a terminal.
      scores[0].columns["answer_parsed"] = "<script>alert(1)</script>";
      scores[0].detail = "\x1b[31mred";
      return scores;
    });
    run.learner->keep_traces(true);
    run.trainer->run();
    write_file_atomic(dir / "config.yaml", "kind: grpo\nmodel: {path: gone}\nrl: {steps: 9}\n");
  }
};

TEST_CASE("flags: what a person filters for") {
  CHECK(is_close("100", "95"));
  CHECK_FALSE(is_close("100", "80"));
  CHECK(is_close("1234", "1284"));          // one digit
  CHECK_FALSE(is_close("12", "12"));        // right, not close
  CHECK_FALSE(is_close("7", "3"));
  CHECK(is_close("x^2+1", "x^2-1"));
  CHECK_FALSE(is_close("", "5"));
  Prompt p;
  p.reference = "100";
  Completion c;
  c.text = "so 95";
  c.stop = StopReason::kLength;
  Score s;
  s.verdict = Verdict::kWrong;
  s.columns["answer_parsed"] = "95";
  CHECK(sample_flags(p, c, s) == std::vector<std::string>{"wrong", "close", "truncated"});
  s.columns["gold_parsed"] = "7";  // what was read counts
  CHECK(sample_flags(p, c, s) == std::vector<std::string>{"wrong", "truncated"});
  s.verdict = Verdict::kUnparsed, c.stop = StopReason::kEos;
  c.text = "The answer is then 我们 需要 计算 这个 问题 的 答案 and so on we go";
  CHECK(sample_flags(p, c, s) == std::vector<std::string>{"unparsed", "mixed"});
  s.verdict = Verdict::kTimeout, c.text = "plain words of one language only";
  CHECK(sample_flags(p, c, s) == std::vector<std::string>{"failed"});
}

TEST_CASE("data: state, table with filter and search, one sample with its tokens") {
  const Run run;
  const WatchData data({run.dir.path()}, {});
  const Json state = Json::parse(data.state());
  REQUIRE(state["runs"].size() == 1);
  CHECK(state["runs"][0]["step"] == 6);
  CHECK(state["runs"][0]["steps"] == 9);
  CHECK(state["runs"][0]["finished"] == false);
  CHECK(state["runs"][0]["rollouts"] == Json({1, 4}));

  const Json all = Json::parse(data.samples(0, -1, "", "", 0, 5));
  CHECK(all["step"] == 4);
  CHECK(all["total"] == 18);
  CHECK(all["rows"].size() == 5);
  const std::size_t right = all["counts"]["ok"], wrong = all["counts"].value("wrong", std::size_t{0});
  CHECK(right + wrong == 18);
  const Json ok = Json::parse(data.samples(0, 4, "ok", "", 0, 100));
  CHECK(ok["total"] == right);
  for (const Json& row : ok["rows"]) CHECK(row["verdict"] == "ok");
  const std::string id = all["rows"][0]["prompt_id"];
  const Json found = Json::parse(data.samples(0, 4, "", id, 0, 100));
  CHECK(found["total"] == 6);
  CHECK(Json::parse(data.samples(0, 4, "", "no such text", 0, 100))["total"] == 0);
  const Json second = Json::parse(data.samples(0, 4, "", "", 5, 100));
  CHECK(second["rows"].size() == 13);
  CHECK_THROWS_AS(data.samples(0, 40, "", "", 0, 5), ConfigError);
  CHECK_THROWS_AS(data.samples(1, 4, "", "", 0, 5), ConfigError);

  const Json sample = Json::parse(data.sample(0, 4, 1, 2));
  CHECK(sample["others"].size() == 6);
  REQUIRE(sample["tokens_shown"].size() == sample["tokens"].get<std::size_t>());
  std::size_t trained = 0;
  for (const Json& t : sample["tokens_shown"]) {
    CHECK(t["logp"].get<double>() <= 0);
    CHECK(t.contains("entropy"));
    if (!t.contains("updates")) continue;
    ++trained;
    CHECK(t["updates"][0]["step"].get<int>() >= 4);
    CHECK(t["updates"][0]["ratio"].get<double>() > 0);
  }
  CHECK(trained == sample["tokens_shown"].size());  // each sample is in one of the three updates
  CHECK_THROWS_AS(data.sample(0, 4, 3, 0), ConfigError);
  CHECK(data.curves().find("data-chart") != std::string::npos);
}

TEST_CASE("server: its pages, errors as JSON, and nobody but this machine") {
  const Run run;
  const WatchData data({run.dir.path()}, {});
  WatchServer server("127.0.0.1:0", false, data);
  httplib::Client client("127.0.0.1", server.port());
  const auto page = client.Get("/");
  REQUIRE(page);
  CHECK(page->status == 200);
  CHECK(page->get_header_value("Content-Security-Policy").find("default-src 'none'") == 0);
  for (const char* path : {"/style.css", "/app.js", "/api/state", "/api/curves", "/api/samples?run=0&limit=3", "/api/sample?run=0&step=1&group=0&sample=0"}) {
    const auto reply = client.Get(path);
    REQUIRE(reply);
    CHECK_MESSAGE(reply->status == 200, path);
    CHECK(reply->body.find("http://") == std::string::npos);   // nothing to load from elsewhere
    CHECK(reply->body.find("https://") == std::string::npos);
  }
  const auto missing = client.Get("/api/samples?run=0&step=77");
  REQUIRE(missing);
  CHECK(missing->status == 404);
  CHECK(Json::parse(missing->body)["error"].get<std::string>().find("not recorded") != std::string::npos);
  CHECK(client.Get("/api/samples?run=0&step=x")->status == 404);
  CHECK(client.Get("/../config.yaml")->status == 404);
  CHECK(client.Get("/config.yaml")->status == 404);
  // Another site's name that leads to this machine.
  CHECK(client.Get("/api/state", {{"Host", "evil.example"}})->status == 403);
  CHECK_THROWS_WITH_AS(WatchServer("0.0.0.0:0", false, data), doctest::Contains("no password"), ConfigError);
  CHECK_THROWS_AS(WatchServer("127.0.0.1", false, data), ConfigError);
  CHECK_THROWS_WITH_AS(WatchServer(message("127.0.0.1:", server.port()), false, data), doctest::Contains("cannot be listened on"), ConfigError);
}

TEST_CASE("terminal: curves as dots, lines within the width, no escape of a completion") {
  report::Line rising;
  for (int i = 0; i <= 10; ++i) rising.push_back({static_cast<double>(i), static_cast<double>(i)});
  const auto chart = braille_chart(rising, 5, 3, true);
  REQUIRE(chart.size() == 3);
  CHECK(chart[2].front() == '#');
  CHECK(chart[0].back() == '#');
  CHECK(chart[0].front() == ' ');
  CHECK(braille_chart(rising, 5, 2, false)[0].size() == 15);  // three bytes a character
  CHECK(braille_chart({{1, std::nan("")}}, 2, 1, true)[0] == "  ");

  const Run run;
  const report::RunData data = report::load_run(run.dir.path());
  RecordedRollout rollout = RecordedRun(run.dir.path()).rollout(4);
  rollout.groups[0].scored.group.completions[0].text = "one\x1b]0;title\x07 two\nthree " + std::string(200, 'x');
  ScreenOptions options;
  options.width = 70, options.height = 30;
  const std::string screen = render_screen(data, &rollout, options);
  CHECK(screen.find('\x1b') == std::string::npos);
  CHECK(screen.find('\x07') == std::string::npos);
  CHECK(screen.find("update 6 of 9") != std::string::npos);
  CHECK(screen.find("reward") != std::string::npos);
  CHECK(screen.find("sample 0 of 18") != std::string::npos);
  std::size_t lines = 0;
  for (std::size_t begin = 0; begin < screen.size();) {
    const std::size_t end = screen.find('\n', begin);
    CHECK(display_width(screen.substr(begin, end - begin)) <= 70);
    begin = end + 1;
    ++lines;
  }
  CHECK(lines <= 30);
  options.sample = 19;  // round
  CHECK(render_screen(data, &rollout, options).find("sample 1 of 18") != std::string::npos);
}

}  // namespace
}  // namespace r1::watch
