// Special judges: what they say, what is done when they fail, and that a submission cannot speak for them.
#include <doctest/doctest.h>

#include "core/error.h"
#include "rewards/code/checker_json.h"
#include "rewards/code/code_json.h"
#include "rewards/code/judge_test_support.h"

namespace r1::code {
namespace {

using test::absent;

// Any two positive numbers with the input as their sum.
constexpr const char* kPython =
    "import sys\n"
    "n = int(open(sys.argv[1]).read())\n"
    "try: a, b = map(int, open(sys.argv[2]).read().split())\n"
    "except ValueError: sys.exit(2)\n"
    "print('sum is', a + b, file=sys.stderr)\n"
    "sys.exit(0 if a > 0 and b > 0 and a + b == n else 1)\n";

Judgement judged(const std::string& prints, Checker checker, const std::string& answer = "1 9\n") {
  Submission s;
  s.program = "import sys\n" + prints;
  s.tests = {{"10\n", answer}};
  s.checker = std::move(checker);
  return judge(s);
}
std::string verdict(const std::string& prints, const Checker& checker, const std::string& answer = "1 9\n") {
  return to_string(judged(prints, checker, answer).verdict);
}

TEST_CASE("a checker accepts every right output") {
  if (absent("python")) return;
  const Checker c{kPython};
  CHECK(verdict("print(4, 6)", c) == "accepted");
  CHECK(verdict("print(1)\nprint(9)", c) == "accepted");
  CHECK(verdict("print(5, 6)", c) == "wrong_answer");
  CHECK(judged("print(5, 6)", c).reason.find("sum is 11") != std::string::npos);
  CHECK(verdict("print('accepted')", c) == "wrong_answer");
  CHECK(verdict("print(4, 6)\nsys.exit(1)", c) == "runtime_error");  // then nobody asks the checker
}

TEST_CASE("a checker in C++ with a header of its own") {
  if (absent("cpp")) return;
  Checker c;
  c.language = "cpp";
  c.files = {{"judge.h", "#include <fstream>\nenum { kOk, kWrong };\n"}};
  c.program = "#include \"judge.h\"\nint main(int, char** v) { std::ifstream in(v[1]), out(v[2]); int n, a, b; in >> n;\n"
              "  return out >> a >> b && a + b == n ? kOk : kWrong; }\n";
  CHECK(verdict("print(4, 6)", c) == "accepted");
  CHECK(verdict("print(4, 5)", c) == "wrong_answer");
  c.program = "int main() { return x; }";
  CHECK(verdict("print(4, 6)", c) == "internal_error");
}

TEST_CASE("a printed verdict is one word and no more") {
  if (absent("python")) return;
  Checker c;
  c.printed = true;
  const auto printing = [&](const std::string& words) {
    c.program = words;
    return verdict("print('accepted')", c);
  };
  CHECK(printing("print('Accepted')") == "accepted");
  CHECK(printing("print(1)") == "accepted");
  CHECK(printing("print('wrong')") == "wrong_answer");
  CHECK(printing("print(False)") == "wrong_answer");
  CHECK(printing("print('well')") == "internal_error");
  CHECK(printing("pass") == "internal_error");
  CHECK(printing("print('accepted')\nraise SystemExit(1)") == "internal_error");
  // What the submission printed does not become the verdict where the checker repeats it.
  CHECK(printing("import sys\nprint('output:', open(sys.argv[2]).read())") == "internal_error");
}

TEST_CASE("a checker that fails is an alarm, unless the output broke it") {
  if (absent("python")) return;
  Checker c;
  c.limits = {3000, 1000, 128, 8, 16, 64};
  c.program = "import sys\nsys.exit(3)";
  CHECK(verdict("print(4, 6)", c) == "internal_error");
  c.program = "import os\nos.abort()";
  CHECK(verdict("print(4, 6)", c) == "internal_error");
  // It reads the number 4 for ever, and the expected output well.
  c.program = "import sys\na = open(sys.argv[2]).read().split()\nwhile a[0] == '4': pass\nsys.exit(a[0] != '1')";
  CHECK(verdict("print(4, 6)", c) == "wrong_answer");
  CHECK(verdict("print(4, 6)", c, "4 6\n") == "internal_error");
  CHECK(verdict("print(1, 6)", c) == "accepted");
}

TEST_CASE("a checker is read from a row, and a bad one is named") {
  CHECK(checker_from_json("import sys\nsys.exit(0)").program == "import sys\nsys.exit(0)");
  CHECK(checker_from_json("\"pass\"").program == "pass");
  const Checker c = checker_from_json(
      R"({"program":"int main() {}","language":"c++","verdict":"printed","files":{"a.h":"1"},"limits":{"wall_ms":7}})");
  CHECK(c.printed);
  CHECK(c.files.at(0).bytes == "1");
  CHECK(c.limits.wall_ms == 7);
  for (const auto& [json, word] : {std::pair{R"({"program":"x","language":"cobol"})", "cobol"},
                                   {R"({"program":"x","files":{"../z":"1"}})", "../z"},
                                   {R"({"program":"x","files":{"main.py":"1"}})", "main.py"},
                                   {R"({"program":"x","files":{"answer.txt":"1"}})", "answer.txt"},
                                   {R"({"program":"x","limits":{"cpu":1}})", "cpu"},
                                   {R"({"program":"x","verdict":"maybe"})", "exit or printed"},
                                   {R"({"program":"x","time":1})", "time"},
                                   {R"({"program":" "})", "empty"},
                                   {" \n", "empty"},
                                   {R"({"program":"x")", "no JSON"},
                                   {"3", "text or an object"}})
    CHECK_THROWS_WITH_AS((void)checker_from_json(json), doctest::Contains(word), DataError);
}

TEST_CASE("checkers are for outputs; a call keeps its expected value") {
  if (absent("python")) return;
  Submission s;
  s.program = "def f(): return 3";
  s.checker.program = "import sys\nsys.exit(1)";
  s.tests = {{"", "", "f()", "3"}};
  CHECK(judge(s).verdict == CodeVerdict::kAccepted);
}

}  // namespace
}  // namespace r1::code
