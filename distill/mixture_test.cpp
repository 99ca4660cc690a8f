#include "distill/mixture.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/support.h"
#include "text/dataset.h"

namespace r1 {
namespace {

struct Fixture {
  test::TempDir dir;
  MixOptions options;
  MixStats stats;

  std::string write(const std::string& name, const std::string& text) {
    write_file_atomic(dir / name, text);
    return (dir / name).string();
  }
  std::string set(const std::string& name, int n, const std::string& mark) {
    std::string text;
    for (int i = 0; i < n; ++i)
      text += message("{\"messages\": [{\"role\": \"user\", \"content\": \"", mark, " ", i, "\"}, {\"role\": \"assistant\", \"content\": \"", i,
                      "\"}], \"n\": ", i, "}\n");
    return write(name, text);
  }
  // "a0 b0 a1": source and number of each row
  std::string mixed() {
    const SetPaths paths = set_paths(dir / "mix.jsonl", "");
    stats = mix_sets(options, paths);
    DatasetOptions o;
    o.paths = {paths.data.string()};
    std::string out;
    for (const Row& row : read_rows(o))
      out += (out.empty() ? "" : " ") + nlohmann::json::parse(row.columns.at("source")).get<std::string>() + row.columns.at("n");
    return out;
  }
};

TEST_CASE_FIXTURE(Fixture, "mixing: without weights everything, interleaved evenly, each set in its own order") {
  options.sources = {{set("a.jsonl", 4, "x"), 0}, {set("b.jsonl", 2, "y"), 0}};
  CHECK(mixed() == "a0 b0 a1 a2 b1 a3");
  CHECK(stats.records == 6);
}

TEST_CASE_FIXTURE(Fixture, "mixing: weights give shares; no row twice; the same rows for the same seed") {
  options.sources = {{set("a.jsonl", 100, "x"), 1}, {set("b.jsonl", 30, "y"), 3}};
  const std::string first = mixed();
  CHECK(stats.sources[0].taken == 10);
  CHECK(stats.sources[1].taken == 30);
  CHECK(mixed() == first);
  options.seed = 1;
  CHECK(mixed() != first);
  options.rows = 20;
  mixed();
  CHECK(stats.sources[0].taken == 5);
  CHECK(stats.sources[1].taken == 15);
  options.rows = 100;
  CHECK_THROWS_WITH_AS(mixed(), doctest::Contains("needs 75 rows"), ConfigError);
}

TEST_CASE_FIXTURE(Fixture, "mixing: duplicates of earlier rows and text of evaluation sets are left out") {
  const std::string a = set("a.jsonl", 3, "x");
  options.sources = {{a, 0}, {set("b.jsonl", 4, "x"), 0}};  // its first three are a's
  CHECK(mixed() == "a0 a1 b3 a2");
  CHECK(stats.sources[1].exact == 3);
  options.against = {write("eval.jsonl", "{\"question\": \"X 1\"}\n")};
  mixed();
  CHECK(stats.sources[0].contaminated == 1);
  CHECK(stats.sources[0].taken == 2);
  options.against.clear();
  options.exact = false;
  mixed();
  CHECK(stats.records == 7);
  const std::string card = mix_card(options, stats, set_paths(dir / "mix.jsonl", ""), {});
  CHECK(card.find("| b | as it is | 4 | 0 | 0 | 0 | 4 |") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "mixing: prompt and completion become messages; other rows are named") {
  options.sources = {{write("a.jsonl",
                            "{\"prompt\": \"q\", \"completion\": \"r\", \"n\": 1}\n{\"prompt\": [{\"role\": \"user\", \"content\": \"q2\"}], "
                            "\"completion\": [{\"role\": \"assistant\", \"content\": \"r2\"}], \"n\": 2}\n"),
                      0}};
  CHECK(mixed() == "a1 a2");
  const std::string text = read_file(dir / "mix.jsonl");
  CHECK(text.find(R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"r"}],"source":"a","n":1})") == 0);
  const auto fails = [&](const char* row, const char* what) {
    options.sources = {{write("bad.jsonl", std::string("{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}]}\n") + row + "\n"), 0}};
    CHECK_THROWS_WITH_AS(mixed(), doctest::Contains(what), DataError);
  };
  fails("{\"text\": 1}", "bad.jsonl:2: a row to mix needs a column messages");
  fails("{\"messages\": []}", "bad.jsonl:2: messages is empty");
  fails("{\"messages\": [{\"who\": 1}]}", "no {role, content}");
  fails("{\"prompt\": 1, \"completion\": \"x\"}", "must be a text or a list");
}

}  // namespace
}  // namespace r1
