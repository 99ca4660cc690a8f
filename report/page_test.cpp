// The page of the fixture runs: its structure, what it holds, and that it loads nothing.
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "report/page.h"
#include "tests/support/support.h"

namespace r1::report {
namespace {

namespace fs = std::filesystem;

const fs::path kRuns = fs::path(R1_SOURCE_DIR) / "tests/golden/report";

// Empty if every element is closed in order and every attribute quoted (the page is written as XML), else what is wrong and where.
std::string malformed(const std::string& html) {
  std::vector<std::string> open;
  for (std::size_t i = html.find('>') + 1; i < html.size();) {  // after the doctype
    if (html[i] == '&') {
      const std::size_t end = html.find(';', i);
      const std::string entity = html.substr(i, end - i + 1);
      if (entity != "&amp;" && entity != "&lt;" && entity != "&gt;" && entity != "&quot;") return "entity " + entity;
    }
    if (html[i] != '<') {
      ++i;
      continue;
    }
    std::size_t end = i;
    bool quoted = false;
    for (; end < html.size() && (quoted || html[end] != '>'); ++end) {
      if (html[end] == '"') quoted = !quoted;
      if (html[end] == '<' && end != i) return "a < in a tag: " + html.substr(i, 60);
    }
    const std::string tag = html.substr(i + 1, end - i - 1);
    i = end + 1;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return "</" + tag.substr(1) + "> closes " + (open.empty() ? "nothing" : open.back());
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find_first_of(" \n")));
    }
  }
  return open.empty() ? "" : "not closed: " + open.back();
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++n;
  return n;
}

void check_self_contained(const std::string& page) {
  for (const char* loads : {"http://", "https://", "src=", "url(", "@import", "<link", "<iframe", "<object", "fetch(", "XMLHttpRequest"})
    CHECK_MESSAGE(count(page, loads) == 0, loads);
  CHECK(count(page, "href=") == count(page, "href=\"#"));
  CHECK(malformed(page) == "");
}

std::string page_of(std::vector<fs::path> folders) { return render_page(load_page(folders)); }

TEST_CASE("report page: the check of its form finds faults") {
  CHECK(malformed("<!DOCTYPE html><p><b>x</b></p>") == "");
  CHECK(malformed("<!DOCTYPE html><p><b>x</p></b>") != "");
  CHECK(malformed("<!DOCTYPE html><p>a & b</p>") != "");
  CHECK(malformed("<!DOCTYPE html><p>") != "");
}

TEST_CASE("report page: two seeds are thin lines with their mean, every section is there, nothing is loaded") {
  const std::string page = page_of({kRuns / "seed0", kRuns / "seed1"});
  check_self_contained(page);
  for (const char* id : {"summary", "curves", "samples", "language", "verdicts", "cost", "configuration"}) {
    CHECK_MESSAGE(count(page, std::string("<section id=\"") + id + "\"") == 1, id);
    CHECK_MESSAGE(count(page, std::string("href=\"#") + id + "\"") == 1, id);
  }
  CHECK(count(page, "id=\"problems\"") == 0);
  CHECK(page.find("mean of 2 seeds") != std::string::npos);
  CHECK(page.find("class=\"line c0 d0 thin\"") != std::string::npos);
  CHECK(page.find("class=\"line c0 d0 mean\"") != std::string::npos);
  for (const char* title : {"Accuracy, greedy", "Accuracy, sampled (pass@1)", "Reward", "Length", "Entropy", "KL to the reference", "Clipped tokens",
      "Truncated",
                            "dlogp: sampler against learner", "Verdicts: math", "Time by phase", "Peak memory", "Reflective words"})
    CHECK_MESSAGE(page.find(std::string("<strong>") + title + "</strong>") != std::string::npos, title);
  CHECK(count(page, "<svg viewBox=\"0 0 460 230\" role=\"img\"") == count(page, "</desc>"));
  CHECK(count(page, "<table>") == count(page, "<caption>"));
  // The same prompt at each of the four evaluations.
  CHECK(page.find("4 steps</span>") != std::string::npos);
  // A completion with markup is text; what both checkers read is there.
  CHECK(count(page, "<b>Wait</b>") == 0);
  CHECK(page.find("&lt;b&gt;Wait&lt;/b&gt;, let me check") != std::string::npos);
  CHECK(page.find("paid, audit says wrong") != std::string::npos);
  CHECK(page.find(">重新</th>") != std::string::npos);
  CHECK(page.find("<th scope=\"row\">rl.learning_rate</th><td><code>0.001</code></td>") != std::string::npos);
}

TEST_CASE("report page: bad folders are named, the rest is shown; nothing at all is an error") {
  const test::TempDir dir;
  fs::create_directories(dir.path() / "hollow");
  const std::string page = page_of({kRuns / "seed0", dir.path() / "hollow", dir.path() / "absent"});
  check_self_contained(page);
  CHECK(page.find("<strong>hollow</strong>: config.yaml is missing") != std::string::npos);
  CHECK(page.find("<strong>absent</strong>: no such folder") != std::string::npos);
  CHECK(page.find("<strong>Accuracy, greedy</strong>") != std::string::npos);
  CHECK_THROWS_AS(page_of({dir.path() / "hollow", dir.path() / "absent"}), ConfigError);
}

TEST_CASE("report page: a pipeline's stages are rows in the order of their starts") {
  const test::TempDir dir;
  for (const auto& [stage, time] : {std::pair("zero", "2026-01-02T00:00:00Z"), std::pair("cold_start", "2026-01-01T00:00:00Z")}) {
    fs::create_directories(dir.path() / "stages" / stage);
    write_file_atomic(dir.path() / "stages" / stage / "config.yaml", std::string("kind: ") + (stage[0] == 'z' ? "grpo" : "sft") + "\n");
    write_file_atomic(dir.path() / "stages" / stage / "environment.json", std::string("{\"starts\":[{\"time\":\"") + time + "\"}]}");
    write_file_atomic(dir.path() / "stages" / stage / "metrics.jsonl",
                      "{\"step\":0,\"time\":1,\"eval/greedy/accuracy\":0.25,\"eval/greedy/accuracy_low\":0.125,\"eval/greedy/accuracy_high\":0.5}\n"
                      "{\"step\":3,\"time\":2,\"eval/greedy/accuracy\":0.75,\"eval/greedy/accuracy_low\":0.5,\"eval/greedy/accuracy_high\":0.875}\n");
  }
  const std::string page = page_of({dir.path()});
  check_self_contained(page);
  const std::size_t first = page.find("<th scope=\"row\">cold_start</th>"), second = page.find("<th scope=\"row\">zero</th>");
  REQUIRE(first != std::string::npos);
  CHECK(first < second);
  CHECK(page.find("25.0 % <span class=\"note\">[12.5, 50.0]</span> → 75.0 % <span class=\"note\">[50.0, 87.5]</span>") != std::string::npos);
}

TEST_CASE("report page: content-addressed stages, of each the newest, with a table of benchmarks") {
  const test::TempDir dir;
  const auto put = [&](const fs::path& file, const std::string& text) {
    fs::create_directories((dir.path() / "stages" / file).parent_path());
    write_file_atomic(dir.path() / "stages" / file, text);
  };
  const auto age = [&](const fs::path& file, int hours) {
    fs::last_write_time(dir.path() / "stages" / file, fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  put("rl/old/run/metrics.jsonl", "{\"step\":1,\"time\":1,\"reward\":0.125}\n");
  put("rl/old/stage.json", R"({"stage":"rl","key":"old","output":"o","inputs":{},"seconds":3,"score":"reward 0.125"})");
  put("rl/new/run/config.yaml", "kind: grpo\n");
  put("rl/new/run/metrics.jsonl", "{\"step\":1,\"time\":1,\"reward\":0.5}\n");
  put("rl/new/stage.json", R"({"stage":"rl","key":"new","output":"p","inputs":{},"seconds":3,"score":"reward 0.500"})");
  put("a_score/k/eval/gsm8k.items.jsonl",
      "{\"id\":\"1\",\"part\":\"greedy\",\"samples\":1,\"strict\":1}\n{\"id\":\"2\",\"part\":\"greedy\",\"samples\":1,\"strict\":0}\n");
  put("a_score/k/stage.json", R"({"stage":"a_score","key":"k","output":"q","inputs":{"rl":"p"},"seconds":2,"score":"gsm8k 50.0 %"})");
  put("later/k/recipe.yaml", "kind: sft\n");
  age("rl/old/stage.json", 9);
  age("rl/new/stage.json", 5);
  age("a_score/k/stage.json", 4);
  const PageInput input = load_page(std::vector<fs::path>{dir.path()});
  REQUIRE(input.pipeline);
  REQUIRE(input.runs.size() == 3);
  CHECK(input.runs[0].name == "rl");
  CHECK(input.runs[0].stage->key == "new");
  CHECK(input.runs[1].name == "a_score");
  CHECK(input.runs[2].name == "later");
  CHECK_FALSE(input.runs[2].finished);
  const std::string page = render_page(input);
  check_self_contained(page);
  CHECK(page.find("<th scope=\"row\">a_score <span class=\"note\">of rl</span></th>"
                  "<td>50.0 % <span class=\"note\">[9.5, 90.5] of 2</span></td>") != std::string::npos);
  CHECK(page.find("reward 0.500") != std::string::npos);
  CHECK(page.find("reward 0.125") == std::string::npos);
}

// An evaluated stage of a pipeline: two items, right or wrong, with these answers.
void put_evaluation(const fs::path& stage, const char* first, const char* second, bool right) {
  fs::create_directories(stage / "eval");
  const auto lines = [&](const char* ending, const std::string& a, const std::string& b) {
    write_file_atomic(stage / "eval" / (std::string("sums") + ending), a + "\n" + b + "\n");
  };
  const std::string verdict = right ? "ok" : "wrong", strict = right ? "1" : "0";
  lines(".items.jsonl", "{\"id\":\"a\",\"part\":\"greedy\",\"samples\":1,\"strict\":" + strict + "}", "{\"id\":\"b\",\"part\":\"greedy\",\"samples\":1,\"strict\":0}");
  const auto sample = [&](const char* id, const char* text, const char* stop, const std::string& v) {
    return std::string("{\"id\":\"") + id + "\",\"part\":\"greedy\",\"sample\":0,\"text\":\"" + text + "\",\"stop\":\"" + stop +
           "\",\"tokens\":10,\"strict\":{\"verdict\":\"" + v + "\",\"value\":1.0,\"detail\":\"\"}}";
  };
  lines(".samples.jsonl", sample("a", first, "eos", verdict), sample("b", second, "length", "wrong"));
  lines(".prompts.jsonl", R"({"id":"a","question":"How many apples are there in both of the baskets?","reference":"7"})",
        R"({"id":"b","question":"2 + 2","reference":"4","language":"zh"})");
  write_file_atomic(stage / "stage.json", R"({"stage":"e","key":"k","output":"q","inputs":{"rl":"p"},"seconds":2,"score":""})");
}

TEST_CASE("report page: answers of evaluated stages: form, language, and the same prompt at every stage") {
  const test::TempDir dir;
  put_evaluation(dir.path() / "p" / "stages/eval_a/k", "Wait, there are seven apples in the basket. 然后我们再加上两个苹果就好了", "我们先把两个数字加起来再看 and then we wait for it", false);
  put_evaluation(dir.path() / "p" / "stages/eval_b/k", "<think>There are seven apples in both of them.</think>7", "我们先把两个数字加起来再看结果", true);
  const PageInput input = load_page(std::vector<fs::path>{dir / "p"});
  const std::string page = render_page(input);
  check_self_contained(page);
  const auto row = [&](const char* stage) {
    const std::size_t at = page.find(std::string("<th scope=\"row\">") + stage + "</th><td>sums, greedy</td>");
    REQUIRE(at != std::string::npos);
    return page.substr(at, page.find("</tr>", at) - at);
  };
  CHECK(row("eval_a").find("<td>2</td><td>10</td><td>50.0 %</td><td>0.0 %</td>") != std::string::npos);
  CHECK(row("eval_b").find("<td>50.0 %</td><td>50.0 %</td><td>100.0 %</td><td>0.0 %</td><td>0</td>") != std::string::npos);
  CHECK(row("eval_a").find("<td>100.0 %</td><td>1</td>") != std::string::npos);  // both mix, each waits once
  // Verdicts of item a change, so it comes first, with both stages' answers under it.
  const std::size_t same = page.find("The same prompt at every stage"), a = page.find("How many apples", same), b = page.find("2 + 2", same);
  REQUIRE(a != std::string::npos);
  CHECK(a < b);
  CHECK(page.find("<h4>eval_a</h4>", a) < page.find("<h4>eval_b</h4>", a));
}

TEST_CASE("report page: two pipelines side by side have a table of means") {
  const test::TempDir dir;
  put_evaluation(dir.path() / "s0" / "stages/eval_a/k", "x", "y", true);
  put_evaluation(dir.path() / "s1" / "stages/eval_a/k", "x", "y", false);
  const std::string page = render_page(load_page(std::vector<fs::path>{dir / "s0", dir / "s1"}));
  check_self_contained(page);
  CHECK(page.find("25.0 % ± 35.4 <span class=\"note\">50.0, 0.0</span>") != std::string::npos);
  CHECK(render_page(load_page(std::vector<fs::path>{dir / "s0"})).find("over 1 pipelines") == std::string::npos);
}

}  // namespace
}  // namespace r1::report
