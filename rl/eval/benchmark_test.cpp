// Benchmarks as data: the built-in files, a user's own, rows to prompts, tests of code rows.
#include "rl/eval/benchmark.h"

#include <doctest/doctest.h>

#include <array>
#include <fstream>
#include <functional>
#include <set>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/code/isolation.h"
#include "rl/eval/code_rows.h"
#include "rl/eval/forms.h"
#include "rl/eval/grader.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

using test::contains;
using test::error_of;

Row row_of(const Json& object, std::int64_t line = 1) {
  Row row{"file.jsonl", line, {}};
  for (const auto& [name, value] : object.items()) row.columns[name] = value.dump();
  return row;
}
std::string text_in(const Row& row, const char* column) { return Json::parse(row.columns.at(column)).get<std::string>(); }

TEST_CASE("every built-in benchmark is complete and can be graded") {
  std::set<std::string> names;
  for (const auto& [name, yaml] : built_in_benchmarks()) {
    const Benchmark b = load_benchmark(name);
    CHECK(b.name == name);
    CHECK(names.insert(name).second);
    CHECK_FALSE(b.title.empty());
    CHECK_FALSE(b.source.empty());
    CHECK_FALSE(b.files.empty());
    CHECK(b.sampling.temperature == 0.6f);
    CHECK(b.sampling.top_p == 0.95f);
    CHECK_NOTHROW(Grader{b});
  }
  for (const char* wanted : {"gsm8k", "math500", "aime2024", "aime2025", "amc2023", "hmmt_feb2025", "gpqa_diamond", "humaneval", "mbpp",
                             "livecodebench", "cmath", "mgsm_zh", "ifeval"})
    CHECK_MESSAGE(names.count(wanted), wanted);
  CHECK(load_benchmark("aime2024").samples == 64);
  CHECK(load_benchmark("math500").samples == 16);
  CHECK(load_benchmark("livecodebench").samples == 8);
  CHECK(load_benchmark("math500").sampling.max_new_tokens == 32768);
}

TEST_CASE("a user's own benchmark, and what is wrong with one") {
  const test::TempDir dir;
  std::ofstream(dir / "mine.yaml")
      << "name: mine\nquestion: q\nanswer: a\ntemplate: 'Q: {q} {{x}} \\boxed{} {nothing}'\nstrict: {name: exact_match}\nsamples: 4\npass_k: [2]\n";
  const Benchmark b = load_benchmark((dir / "mine.yaml").string());
  CHECK(b.pass_k == std::vector<int>{2});
  CHECK(b.lenient.empty());
  const Row row = benchmark_row(b, row_of({{"q", "1 {a}"}, {"a", 2}}), 7, 0);
  CHECK(text_in(row, "prompt") == "Q: 1 {a} {{x}} \\boxed{} {nothing}");  // one pass; what is no column stays
  CHECK(text_in(row, "id") == "7");
  CHECK(text_in(row, "reference") == "2");
  const auto fails = [](const std::string& yaml) { return error_of([&] { parse_benchmark(yaml, "x.yaml"); }); };
  CHECK(contains(fails("{name: x, strict: {name: math}, sampels: 3}"), "did you mean 'samples'"));
  CHECK(contains(fails("{name: x}"), "strict"));
  CHECK(contains(fails("{name: x, strict: {name: math}, template: no column}"), "names no column"));
  CHECK(contains(fails("{name: x, strict: {name: math}, samples: 2, pass_k: [3]}"), "has 3"));
  CHECK(contains(fails("{name: x, strict: {name: math}, form: choice, choices: [a]}"), "2 to 26"));
  CHECK(contains(fails("{name: x, strict: {name: math}, choices: [a, b]}"), "form: choice only"));
  CHECK(contains(error_of([] { load_benchmark("gms8k"); }), "did you mean 'gsm8k'"));
  CHECK(contains(error_of([] { Grader(parse_benchmark("{name: x, strict: {name: maths}}", "x.yaml")); }), "did you mean 'math'"));
  CHECK(contains(error_of([] { Grader(parse_benchmark("{name: x, strict: {name: math, extrct: boxed}}", "x.yaml")); }), "extrct"));
}

TEST_CASE("data files: a file, a folder, a folder with data in it, none") {
  const test::TempDir dir;
  const Benchmark b = load_benchmark("mgsm_zh");
  CHECK(contains(error_of([&] { find_benchmark_data(b, dir.path()); }), "none of its files (chinese_math/mgsm_zh.jsonl"));
  CHECK(contains(error_of([&] { find_benchmark_data(b, dir / "nowhere"); }), "there is no"));
  std::filesystem::create_directories(dir / "data/chinese_math");
  std::ofstream(dir / "data/chinese_math/mgsm_zh.jsonl") << "{}";
  CHECK(find_benchmark_data(b, dir.path()) == dir / "data/chinese_math/mgsm_zh.jsonl");
  CHECK(find_benchmark_data(b, dir / "data/chinese_math/mgsm_zh.jsonl") == dir / "data/chinese_math/mgsm_zh.jsonl");
  std::ofstream(dir / "mgsm_zh.jsonl") << "{}";
  CHECK(find_benchmark_data(b, dir.path()) == dir / "data/chinese_math/mgsm_zh.jsonl");
}

TEST_CASE("choices are shuffled by seed and row, letters follow the correct one") {
  const Benchmark b = load_benchmark("gpqa_diamond");
  const Json raw = {{"Question", "Which?"},       {"Correct Answer", "right\n"}, {"Incorrect Answer 1", "w1"},
                    {"Incorrect Answer 2", "w2"}, {"Incorrect Answer 3", "w3"},  {"Record ID", "rec1"}};
  std::set<std::string> letters, orders;
  int first = 0;
  for (int i = 1; i <= 200; ++i) {
    const Row row = benchmark_row(b, row_of(raw), i, 5);
    const std::string letter = text_in(row, "reference");
    const Json choices = Json::parse(row.columns.at("choices"));
    REQUIRE(letter.size() == 1);
    CHECK(choices[static_cast<std::size_t>(letter[0] - 'A')] == "right");
    CHECK(contains(text_in(row, "prompt"), letter + ") right"));
    CHECK(contains(text_in(row, "prompt"), "one of A, B, C, D"));
    CHECK(benchmark_row(b, row_of(raw), i, 5).columns == row.columns);
    letters.insert(letter);
    orders.insert(choices.dump());
    first += letter == "A";
  }
  CHECK(letters.size() == 4);
  CHECK(orders.size() == 24);
  CHECK(first > 30);
  CHECK(first < 75);
  CHECK(text_in(benchmark_row(b, row_of(raw), 1, 5), "id") == "rec1");
  Json missing = raw;
  missing.erase("Incorrect Answer 2");
  CHECK(contains(error_of([&] { benchmark_row(b, row_of(missing, 12), 1, 0); }), "file.jsonl:12: there is no column 'Incorrect Answer 2'"));
}

TEST_CASE("rows: filters, limits, ids, golds") {
  const test::TempDir dir;
  const std::string file = (dir / "mbpp.jsonl").string();
  std::ofstream out(file);
  for (int i = 1; i <= 6; ++i)
    out << Json{{"task_id", i},
                {"text", "do"},
                {"code", "x"},
                {"test_setup_code", ""},
                {"test_list", {"assert f() == 1", "assert f() < 2"}},
                {"split", i % 2 ? "test" : "train"}}
               .dump()
        << "\n";
  out.close();
  const Benchmark b = load_benchmark("mbpp");
  const std::vector<Row> rows = benchmark_rows(b, {file}, 2, 0);
  REQUIRE(rows.size() == 2);
  CHECK(text_in(rows[1], "id") == "3");
  CHECK(contains(text_in(rows[0], "prompt"), "assert f() == 1\nassert f() < 2"));
  CHECK(Json::parse(rows[0].columns.at("tests")).size() == 2);
  Benchmark other = b;
  other.where_equals = "none";
  CHECK(contains(error_of([&] { benchmark_rows(other, {file}, 0, 0); }), "no row of 6 counts"));
  other = b;
  other.id = "split";
  CHECK(contains(error_of([&] { benchmark_rows(other, {file}, 0, 0); }), "is that of line 1 too"));
  // GSM8K's gold is what follows its mark.
  CHECK(unrendered_prompts({benchmark_row(load_benchmark("gsm8k"), row_of({{"question", "2+2?"}, {"answer", "two and two\n#### 4"}}), 1, 0)})[0]
            .reference == "4");
}

TEST_CASE("worked examples before every question") {
  const test::TempDir dir;
  const auto write = [&](const char* name, const std::vector<Json>& rows) {
    std::ofstream out(dir / name);
    for (const Json& row : rows) out << row.dump() << "\n";
    return (dir / name).string();
  };
  const std::string test = write("test.jsonl", {{{"question", "1+1?"}, {"answer", "one and one\n#### 2"}}, {{"question", "2+2?"}, {"answer", "#### 4"}}});
  const std::string train = write("train.jsonl", {{{"question", "3+3?"}, {"answer", "three twice\n#### 6"}}, {{"question", "4+4?"}, {"answer", "#### 8"}}});
  Benchmark b = load_benchmark("gsm8k");
  b.prompt_template = "Q: {question}\nA:";
  std::vector<Row> rows = benchmark_rows(b, {test}, 0, 0);
  put_examples_before(rows, b, train, 2, 0);
  CHECK(text_in(rows[1], "prompt") == "Q: 3+3?\nA:\nthree twice\n#### 6\n\nQ: 4+4?\nA:\n#### 8\n\nQ: 2+2?\nA:");
  CHECK(text_in(rows[1], "reference") == "4");
  rows = benchmark_rows(b, {test}, 0, 0);
  CHECK(contains(error_of([&] { put_examples_before(rows, b, train, 3, 0); }), "2 rows for 3 worked examples"));
  CHECK(contains(error_of([&] { put_examples_before(rows, b, test, 1, 0); }), "is item 1 of the evaluation itself"));
  CHECK(contains(error_of([&] { put_examples_before(rows, load_benchmark("mbpp"), train, 1, 0); }), "judged by tests"));
}

TEST_CASE("LiveCodeBench rows: plain and packed tests, standard input and functions") {
  const Benchmark b = load_benchmark("livecodebench");
  Json raw = {{"question_id", "q1"}, {"question_content", "Add them."}, {"starter_code", ""}, {"metadata", "{}"},
              {"public_test_cases", R"([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}])"}};
  // base64(zlib(pickle(text))) of protocols 2 to 5: [{"input":"3 4\n","output":"7\n","testtype":"stdin"}]
  for (const char* packed : {"eJxrYIqwYmBgiK5WyswrKC1RslJQMlYwiclT0lFQyi8tgQqZQwRKUotLSioLUkFCxSUpmXlKtbGFDHoAfJQTeQ==",
                             "eJxrYI6wYmBgiK5WyswrKC1RslJQMlYwiclT0lFQyi8tgQqZQwRKUotLSioLUkFCxSUpmXlKtbGFDHoAfNcTeg==",
                             "eJxrYJlqxwABPVbR1UqZeQWlJUpWCkrGCiYxeUo6Ckr5pSVQIXOIQElqcUlJZUEqSKi4JCUzT6k2dooeALJaFKU=",
                             "eJxrYJ1qxwABPVbR1UqZeQWlJUpWCkrGCiYxeUo6Ckr5pSVQIXOIQElqcUlJZUEqSKi4JCUzT6k2dooeALKiFKY="}) {
    raw["private_test_cases"] = packed;
    const Row row = benchmark_row(b, row_of(raw), 1, 0);
    CHECK(Json::parse(row.columns.at("tests")) == Json::parse(R"([{"input":"1 2\n","output":"3\n"},{"input":"3 4\n","output":"7\n"}])"));
    CHECK(contains(text_in(row, "prompt"), "standard input"));
  }
  raw["private_test_cases"] = "[]";
  raw["starter_code"] = "class Solution:\n    def add(self, a, b):\n        ";
  raw["metadata"] = R"({"func_name": "add"})";
  raw["public_test_cases"] = R"([{"input": "[1, null, true]\n\"x\"", "output": "{\"k\": 2.5}", "testtype": "functional"}])";
  const Row row = benchmark_row(b, row_of(raw), 1, 0);
  CHECK(Json::parse(row.columns.at("tests")) == Json::parse(R"J([{"call":"Solution().add([1, None, True], \"x\")","expected":{"k":2.5}}])J"));
  CHECK(contains(text_in(row, "prompt"), "Complete this code"));
  for (const auto& [key, value, what] : std::vector<std::array<const char*, 3>>{
           {"metadata", "{}", "func_name"}, {"private_test_cases", "@@", "base64"}, {"private_test_cases", "AAAA", "damaged"}}) {
    Json bad = raw;
    bad[key] = value;
    CHECK_MESSAGE(contains(error_of([&] { benchmark_row(b, row_of(bad), 1, 0); }), what), key);
  }
}

TEST_CASE("LiveCodeBench rows are judged: every test must pass, loosely also without a fence") {
  if (!code::host_guarantees().namespaces) return;
  const Benchmark b = load_benchmark("livecodebench");
  const Grader grader(b);
  CHECK(grader.has_lenient());
  const auto judge = [&](const Json& raw, const std::string& text) {
    const Prompt prompt = unrendered_prompts({benchmark_row(b, row_of(raw), 1, 0)})[0];
    GradedSample s;
    s.text = text;
    grader.grade(prompt, s);
    return std::pair(s.strict.verdict, s.lenient->verdict);
  };
  const Json reads = {{"question_id", "q"},
                      {"question_content", "Add."},
                      {"starter_code", ""},
                      {"metadata", "{}"},
                      {"public_test_cases", R"([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}])"},
                      {"private_test_cases", R"([{"input": "5 6\n", "output": "11\n", "testtype": "stdin"}])"}};
  const std::string adds = "print(sum(map(int, input().split())))\n";
  CHECK(judge(reads, "```python\n" + adds + "```") == std::pair(Verdict::kCorrect, Verdict::kCorrect));
  CHECK(judge(reads, adds) == std::pair(Verdict::kUnparsed, Verdict::kCorrect));
  CHECK(judge(reads, "```python\nprint(3)\n```") == std::pair(Verdict::kWrong, Verdict::kWrong));  // passes the public test alone
  const Json calls = {{"question_id", "q"},
                      {"question_content", "Add."},
                      {"starter_code", "class Solution: ..."},
                      {"metadata", R"({"func_name": "add"})"},
                      {"public_test_cases", R"([{"input": "[1, 2]\n5", "output": "8", "testtype": "functional"}])"},
                      {"private_test_cases", "[]"}};
  CHECK(judge(calls, "```python\nclass Solution:\n    def add(self, a, b):\n        return sum(a) + b\n```").first == Verdict::kCorrect);
  CHECK(judge(calls, "```python\nclass Solution:\n    def add(self, a, b):\n        return sum(a)\n```").first == Verdict::kWrong);
}

TEST_CASE("pickles: one text, nothing else") {
  CHECK(unpickle_text(std::string("\x80\x02X\x03\x00\x00\x00" "a\xC3\xA9q\x00.", 13)) == "a\xC3\xA9");
  for (const std::string& bad : {std::string(), std::string("\x80\x04.", 3),
                                 std::string("\x80\x04]\x94\x8c\x01"
                                             "a\x94"
                                             "a.",
                                             9),
                                 std::string("\x80\x02X\xff\x00\x00\x00"
                                             "a.",
                                             9),
                                 std::string("cos\nsystem\n."),
                                 std::string("\x80\x02X\x01\x00\x00\x00"
                                             "a",
                                             8)})
    CHECK_FALSE(unpickle_text(bad));
}

TEST_CASE("code without a closed fence: what lenient grading runs") {
  CHECK_FALSE(unfenced_program("```python\nx = 1\n```"));
  CHECK(unfenced_program("```python\nx = 1\n") == "x = 1\n");
  CHECK(unfenced_program("    return 1\n\n    # more\nprint(f())") == "    return 1\n\n    # more");
  CHECK(unfenced_program("def f():\n    return 1\nprint(1)") == "def f():\n    return 1\nprint(1)");
}

}  // namespace
}  // namespace r1
