#include "rewards/verify/verifier.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/code/code_json.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

Json ask(VerifyKind kind, const std::string& line) {
  const Verifier::Reply r = Verifier(kind).reply(line, 5);
  CHECK(r.text.find('\n') == r.text.npos);
  const Json reply = Json::parse(r.text);
  CHECK(r.error == reply.contains("error"));
  if (r.error) CHECK_FALSE(reply.contains("correct"));
  return reply;
}
Json math(const std::string& line) { return ask(VerifyKind::kMath, line); }

std::string error(VerifyKind kind, const std::string& line) {
  const Json reply = ask(kind, line);
  if (!reply.contains("error")) return "";
  if (kind != VerifyKind::kCode || reply.contains("line")) CHECK(reply["line"] == 5);
  return reply["error"];
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

TEST_CASE("verify math: an answer alone") {
  const Json r = math(R"({"id":"q1","gold":"\\frac{1}{2}","answer":"0.5"})");
  CHECK(r["id"] == "q1");
  CHECK(r["correct"] == true);
  CHECK(r["verdict"] == "equal");
  CHECK(r["proved"] == true);
  CHECK(r["gold_parsed"] != "");
  CHECK(r["answer_parsed"] != "");
  CHECK(r["reason"] != "");
  CHECK(r.size() == 7);
  const Json wrong = math(R"({"gold":"7","answer":"8"})");
  CHECK(wrong["correct"] == false);
  CHECK(wrong["verdict"] == "different");
  CHECK_FALSE(wrong.contains("id"));
}

TEST_CASE("verify math: options count, and only those that there are") {
  const auto correct = [](const char* options) {
    return math(std::string(R"({"gold":"1/3","answer":"0.333","options":)") + options + "}").value("correct", false);
  };
  CHECK(correct("{}"));
  CHECK(correct("null"));
  CHECK_FALSE(correct(R"({"rounding_digits":0})"));
  CHECK_FALSE(correct(R"({"strict":true})"));
  CHECK(says(error(VerifyKind::kMath, R"({"gold":"1","answer":"1","options":{"stict":true}})"), "strict"));
  CHECK(says(error(VerifyKind::kMath, R"({"gold":"1","answer":"1","options":{"strict":[1]}})"), "strict"));
  CHECK(error(VerifyKind::kMath, R"({"gold":"1","answer":"1","options":7})") != "");
}

TEST_CASE("verify math: a whole completion") {
  const Json r = math(R"({"id":3,"gold":"#### 72","completion":"<think>maybe 71</think> So \\boxed{72}."})");
  CHECK(r["id"] == 3);
  CHECK(r["correct"] == true);
  CHECK(r["gold_parsed"] == "72");
  CHECK(r["answer_parsed"] == "72");
  CHECK(math(R"({"gold":"72","completion":"I do not know"})")["reason"] == "no_answer");
  CHECK(math(R"({"gold":"72","completion":"empty: $$ $$"})")["reason"] == "no_answer");
  CHECK(math(R"({"gold":"72","completion":"72","prefill":"<think>\n"})")["reason"] == "think_not_closed");
  CHECK(math(R"({"gold":"72","completion":"so </think>72","prefill":true})")["correct"] == true);
  const std::string cut = R"({"gold":"72","completion":"\\boxed{72}","stop":"length","options":{"require_end":)";
  CHECK(math(cut + "false}}")["correct"] == true);
  CHECK(math(cut + "true}}")["reason"] == "truncated");
}

TEST_CASE("verify math: a gold without an answer is undecided, never right or wrong") {
  for (const char* line : {R"({"gold":"","answer":""})", R"({"gold":" ","completion":"\\boxed{1}"})"}) {
    const Json r = math(line);
    CHECK(r["correct"] == false);
    CHECK(r["verdict"] == "undecided");
    CHECK(r["reason"] == "unreadable_gold");
  }
}

TEST_CASE("verify format and language") {
  const Json good = ask(VerifyKind::kFormat, R"({"id":[1],"completion":"<think>a</think><answer>b</answer>"})");
  CHECK(good["id"] == Json::array({1}));
  CHECK(good["correct"] == true);
  CHECK(good["score"] == 1);
  CHECK(good["reason"] == "ok");
  CHECK(ask(VerifyKind::kFormat, R"({"completion":"a</think><answer>b</answer>","prefill":"<think>"})")["correct"] == true);
  CHECK(ask(VerifyKind::kFormat, R"({"completion":"a</think>","prefill":"<think>","options":{"partial":true}})")["score"] == 0.5);
  CHECK(ask(VerifyKind::kFormat, R"({"completion":"<think>a</think><answer>b</answer>","stop":"length"})")["reason"] == "truncated");

  const Json zh = ask(VerifyKind::kLanguage, R"({"completion":"<think>Мы складываем числа и получаем ответ сегодня</think>","language":"ru"})");
  CHECK(zh["score"] == 1);
  CHECK(zh["defined"] == true);
  CHECK(zh["target_words"].get<int>() >= 5);
  CHECK(zh["other_words"] == 0);
  CHECK(zh["language"] == "ru");
  const Json mixed = ask(VerifyKind::kLanguage, R"({"completion":"Мы складываем числа и получаем 오늘은 날씨가 정말 좋습니다","language":"ru"})");
  CHECK(mixed["others"]["ko"] == mixed["other_words"]);
  CHECK(mixed["others"]["ko"].get<int>() >= 3);
  CHECK(says(error(VerifyKind::kLanguage, R"({"completion":"a","language":"xx"})"), "xx"));
  CHECK(says(error(VerifyKind::kLanguage, R"({"completion":"a"})"), "'language' is missing"));
}

TEST_CASE("verify: lines that cannot be read are errors with the line's number and the id where there is one") {
  for (const VerifyKind kind : {VerifyKind::kMath, VerifyKind::kCode, VerifyKind::kFormat, VerifyKind::kLanguage}) {
    for (const char* line : {"", "{oops", "[1]", "7", "{\"completion\":\"\xff\"}", "{}", "null"}) {
      CAPTURE(line);
      const Json r = ask(kind, line);
      CHECK(r.contains("error"));
      CHECK(r["line"] == 5);
    }
    CHECK(ask(kind, R"({"id":"x","completion":7})")["id"] == "x");
    CHECK(says(error(kind, std::string(5000, '[')), "nested"));
    CHECK(says(error(kind, R"({"id":)" + std::string(200'000, '[') + std::string(200'000, ']') + "}"), "nested"));
  }
  CHECK(says(error(VerifyKind::kMath, R"({"gold":"1","anwser":"1"})"), "did you mean 'answer'"));
  CHECK(says(error(VerifyKind::kMath, R"({"gold":"1","answer":"1","completion":"1"})"), "one of"));
  CHECK(says(error(VerifyKind::kMath, R"({"gold":"1","answer":"1","stop":"eos"})"), "no effect"));
  CHECK(says(error(VerifyKind::kFormat, R"({"completion":"a","stop":"end"})"), "eos, stop, length, aborted"));
  CHECK_THROWS_AS(verify_kind("maths"), ConfigError);
  CHECK(verify_kind("language") == VerifyKind::kLanguage);
}

TEST_CASE("verify code: requests are read before anything runs") {
  using code::request_from_json;
  const auto fault = [](const std::string& json) -> std::string {
    try {
      request_from_json(json);
    } catch (const DataError& e) {
      return e.what();
    }
    return "";
  };
  const std::string tests = R"("tests":[{"input":"","output":"1"}])";
  const auto read = request_from_json(R"J({"program":"print(1)",)J" + tests + R"(,"tolerance":0.5,"limits":{"cpu_ms":7}})");
  CHECK(read.submission.language == "python");
  CHECK(read.submission.tolerance == 0.5);
  CHECK(read.submission.limits.cpu_ms == 7);
  CHECK(request_from_json(R"({"completion":"no code",)" + tests + "}").no_program != "");
  const auto block = request_from_json(R"({"completion":"t</think>\n```cpp\nint main(){}\n```","prefill":"<think>",)" + tests + "}");
  CHECK(block.no_program == "");
  CHECK(block.submission.language == "cpp");
  CHECK(says(request_from_json(R"({"completion":"```py\n1\n```","prefill":true,)" + tests + "}").no_program, "think"));
  CHECK(says(fault(R"({"program":"1"})"), "tests"));
  CHECK(says(fault(R"({"program":7,)" + tests + "}"), "'program' must be a text"));
  CHECK(says(fault(R"({"program":"1","completion":"1",)" + tests + "}"), "one of"));
  CHECK(says(fault(R"({"program":"1","langauge":"c",)" + tests + "}"), "'language'"));
  CHECK(says(fault(R"({"program":"1","language":"cobol",)" + tests + "}"), "cobol"));
  CHECK(says(fault(R"({"program":"1","tolerance":"x",)" + tests + "}"), "tolerance"));
  CHECK(says(fault(R"({"program":"1","tolerance":2,)" + tests + "}"), "tolerance"));
  CHECK(says(fault(R"({"program":"1","limits":{"cpu_ms":0},)" + tests + "}"), "cpu_ms"));
  CHECK_THROWS_AS(code::tests_from_json(std::string(100'000, '[')), DataError);
  CHECK_THROWS_AS(code::tests_from_json("\"" + std::string(100'000, '[') + "\""), DataError);
  const Json none = ask(VerifyKind::kCode, R"({"id":1,"completion":"no code",)" + tests + "}");
  CHECK(none["verdict"] == "wrong_answer");
  CHECK(none["correct"] == false);
  CHECK(none["total"] == 1);
  CHECK(none["wall_ms"] == 0);
}

}  // namespace
}  // namespace r1
