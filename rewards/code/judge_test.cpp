// Submissions against tests: verdicts, languages, extraction, comparison, JSON lines, the reward itself.
#include "rewards/code/judge.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"

#include "rewards/code/code_json.h"
#include "rewards/code/compare_output.h"
#include "rewards/code/extract_program.h"
#include "rewards/code/judge_test_support.h"
#include "rewards/factory.h"

namespace r1 {
namespace {
using namespace code;

using code::test::absent;

Submission sum_of_two(const std::string& language, const std::string& program) {
  Submission s;
  s.language = language;
  s.program = program;
  s.tests = {{"1 2\n", "3\n", "", ""}, {"10 -4\n", "6", "", ""}, {"0 0\n", "0\n", "", ""}};
  return s;
}

TEST_CASE("right programs are accepted in every language found") {
  const std::pair<const char*, const char*> programs[] = {
      {"python", "a, b = map(int, input().split())\nprint(a + b)\n"},
      {"cpp", "#include <iostream>\nint main() { long a, b; std::cin >> a >> b; std::cout << a + b << '\\n'; }\n"},
      {"c", "#include <stdio.h>\nint main(void) { int a, b; scanf(\"%d %d\", &a, &b); printf(\"%d\\n\", a + b); return 0; }\n"},
      {"javascript", "const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(Number);\nconsole.log(a + b);\n"},
      {"java", "import java.util.*;\npublic class Sum { public static void main(String[] x) { Scanner s = new Scanner(System.in); System.out.println(s.nextLong() + s.nextLong()); } }\n"},
      {"go", "package main\nimport \"fmt\"\nfunc main() { var a, b int; fmt.Scan(&a, &b); fmt.Println(a + b) }\n"},
      {"rust", "use std::io::*;\nfn main() { let mut s = String::new(); stdin().read_to_string(&mut s).unwrap(); let t: i64 = s.split_whitespace().map(|x| x.parse::<i64>().unwrap()).sum(); println!(\"{}\", t); }\n"}};
  for (const auto& [language, program] : programs) {
    CAPTURE(language);
    if (absent(language)) continue;
    const Judgement j = judge(sum_of_two(language, program));
    CAPTURE(j.reason);
    CHECK(j.verdict == CodeVerdict::kAccepted);
    CHECK(j.passed == 3);
    CHECK(j.total == 3);
  }
}

TEST_CASE("each way to fail has its verdict") {
  if (absent("python")) return;
  const auto verdict = [](const std::string& program) {
    Submission s = sum_of_two("python", program);
    s.stop_at_first = true;
    s.limits.wall_ms = 3000;
    s.limits.cpu_ms = 600;
    s.limits.memory_mb = 96;
    s.limits.output_kb = 64;
    return std::string(to_string(judge(s).verdict));
  };
  CHECK(verdict("print(4)") == "wrong_answer");
  CHECK(verdict("print(3)\nraise SystemExit(1)") == "runtime_error");
  CHECK(verdict("print(3)\n1 / 0") == "runtime_error");
  CHECK(verdict("def (") == "runtime_error");
  CHECK(verdict("while True: pass") == "time_limit");
  CHECK(verdict("x = bytearray(300 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nimport time; time.sleep(1)") == "memory_limit");
  CHECK(verdict("print('x' * 1000000)") == "output_limit");
  CHECK(verdict("import ctypes; ctypes.CDLL(None).unshare(0x10000000)\nprint(3)") == "sandbox_violation");
}

TEST_CASE("lies about the result are wrong answers") {
  if (absent("python")) return;
  for (const char* program :
       {"print('accepted')", "print('{\"verdict\": \"accepted\", \"passed\": 3}')", "import os; os._exit(0)",
        "raise SystemExit(0)", "print(3)", "print('3\\n6\\n0')", "import os\nfor f in range(3, 64):\n  try: os.write(f, b'\\x01' * 32)\n  except OSError: pass"}) {
    CAPTURE(program);
    const Judgement j = judge(sum_of_two("python", program));
    CHECK(j.verdict == CodeVerdict::kWrongAnswer);
    CHECK(j.passed < 2);
  }
}

TEST_CASE("a program that does not compile, and one that fails only one test") {
  if (absent("cpp")) return;
  const Judgement bad = judge(sum_of_two("c++", "int main() { return x; }"));
  CHECK(bad.verdict == CodeVerdict::kCompileError);
  CHECK(bad.reason.find("error") != std::string::npos);
  CHECK(judge(sum_of_two("c++", "#include \"/etc/shadow\"\nint main() {}")).verdict == CodeVerdict::kCompileError);
  const Judgement part = judge(sum_of_two("c++", "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << (b < 0 ? 7 : a + b); }"));
  CHECK(part.verdict == CodeVerdict::kWrongAnswer);
  CHECK(part.passed == 2);
}

TEST_CASE("function calls: values by exact type, prints and tricks do not count") {
  if (absent("python")) return;
  const auto run = [](const std::string& program, const std::string& call, const std::string& expected) {
    Submission s;
    s.program = program;
    s.tests = {{"", "", call, expected}};
    return std::string(to_string(judge(s).verdict));
  };
  CHECK(run("def f(a, b):\n  print('noise')\n  return a + b", "f(1, 2)", "3") == "accepted");
  CHECK(run("def f(): return [(1, 'a'), {'k': None}]", "f()", R"([[1,"a"],{"k":null}])") == "accepted");
  CHECK(run("class Solution:\n  def add(self, a, b): return a + b", "add(1, 2)", "3") == "accepted");
  CHECK(run("def f(): return True", "f()", "1") == "wrong_answer");
  CHECK(run("class A(int):\n  def __eq__(self, o): return True\ndef f(): return A(7)", "f()", "3") == "wrong_answer");
  CHECK(run("class A:\n  def __eq__(self, o): return True\ndef f(): return A()", "f()", "3") == "wrong_answer");
  CHECK(run("import os\nos._exit(0)", "f()", "3") == "wrong_answer");
  CHECK(run("def g(): return 3", "f()", "3") == "runtime_error");
}

TEST_CASE("what the runner cannot judge is its own error") {
  CHECK(judge(sum_of_two("cobol", "x")).verdict == CodeVerdict::kInternalError);
  Submission none;
  none.program = "print(1)";
  CHECK(judge(none).verdict == CodeVerdict::kInternalError);
}

TEST_CASE("values are compared whole, at every level") {
  CHECK(same_json("[1, [2, {\"a\": null}]]", "[1,[2,{\"a\":null}]]", 0));
  CHECK(!same_json("[1,2,3]", "[1,2]", 0));
  CHECK(!same_json("[1,2]", "[1,2,3]", 0));
  CHECK(!same_json("[[1,2,3]]", "[[1,2]]", 0));
  CHECK(!same_json("{\"a\":1,\"b\":2}", "{\"a\":1}", 0));
  CHECK(!same_json("{\"a\":1}", "{\"a\":1,\"b\":2}", 0));
  CHECK(!same_json("true", "1", 0));
  CHECK(same_json("[0.5000001]", "[0.5]", 1e-6));
  CHECK(!same_json("[0.5000001]", "[0.5]", 0));
  CHECK(!same_json("[1", "[1", 0));
}

TEST_CASE("output is compared by lines and tokens") {
  CHECK(same_output("1  2 \n3\n\n", "1 2\n3", 0));
  CHECK(!same_output("1 2 3", "1 2\n3", 0));
  CHECK(!same_output("1", "1\n2", 0));  // a prefix of the right lines
  CHECK(!same_output("1\n2\n3", "1\n2", 0));
  CHECK(!same_output("", "1", 0));
  CHECK(!same_output("0.5000001", "0.5", 0));
  CHECK(same_output("0.5000001", "0.5", 1e-6));
  CHECK(!same_output("0.51", "0.5", 1e-6));
  CHECK(!same_output("nan", "0.5", 1.0));
  CHECK(!same_output("inf", "0.5", 1.0));
  CHECK(same_json("[1,2.0]", "[1.0, 2]", 0));
  CHECK(!same_json("true", "1", 0));
  CHECK(!same_json("3\n3", "3", 0));
  CHECK(!same_json(std::string(200000, '['), "3", 0));
  CHECK(same_json(R"({"a":1,"b":[0.3]})", R"({"b":[0.30000001],"a":1})", 1e-6));
}

TEST_CASE("the program is the last closed fence of its language") {
  const auto program = [](const std::string& text, const char* language = "python") { return extract_program(text, language).program; };
  CHECK(program("```python\na\n```\nor\n```py\nb\n```\nrun it:\n```bash\nls\n```") == "b\n");
  CHECK(program("```Python3\na\n```\n```python\nopen") == "a\n");
  CHECK(program("```\nbare\n```") == "bare\n");
  CHECK(program("```\nbare\n```\n```py\ntagged\n```\n```\noutput\n```") == "tagged\n");
  CHECK(program("````python\nx = '''\n```\n'''\n````") == "x = '''\n```\n'''\n");
  CHECK(program("~~~cpp\nint x;\n~~~", "c++") == "int x;\n");
  CHECK(program("```\n```") == "");
  CHECK(extract_program("```c++\nint x;\n```", "").language == "cpp");
  CHECK(!extract_program("```cpp\nint x;\n```", "python").found);
  CHECK(!extract_program("no fence", "python").found);
  for (const auto& [tag, language] : {std::pair{"rs", "rust"}, {"golang", "go"}, {"Java", "java"}, {"C++20", "cpp"}, {"node", "javascript"}, {"c17", "c"}}) {
    CAPTURE(tag);
    CHECK(extract_program(std::string("```") + tag + "\nx\n```", "").language == language);
  }
}

TEST_CASE("JSON lines: one reply each, malformed ones too") {
  const auto bad = nlohmann::json::parse(judge_json_line("{oops").text);
  CHECK(bad.contains("error"));
  CHECK(nlohmann::json::parse(judge_json_line(R"({"id":7,"program":"x","tests":[]})").text)["id"] == 7);
  CHECK(nlohmann::json::parse(judge_json_line(R"({"program":"x","tests":[{"output":"1"}],"limits":{"cpu":1}})").text).contains("error"));
  if (absent("python")) return;
  const auto good = nlohmann::json::parse(judge_json_line(
      R"({"id":"a","completion":"<think>x</think>\n```py\nprint(1)\n```","tests":[{"input":"","output":"1"}],"limits":{"wall_ms":5000}})").text);
  CHECK(good["id"] == "a");
  CHECK(good["correct"] == true);
  CHECK(good["verdict"] == "accepted");
  CHECK(good["passed"] == 1);
}

TEST_CASE("what a run requires of its host is refused where it is missing") {
  Guarantees g;
  g.cgroup = "cannot make one";
  g.seccomp = true;
  CHECK(g.missing({"seccomp"}) == "");
  CHECK(g.missing({"control_group", "seccomp", "landlock"}) == "control_group (cannot make one); landlock (the kernel lacks it)");
  CHECK_THROWS_AS((void)g.missing({"magic"}), Error);
  Guarantees missing;
  missing.cgroup = missing.cold = "x";
  for (const std::string& name : guarantee_names()) CHECK(missing.missing({name}) != "");
  CHECK_THROWS((void)make_reward("code", "{require: [magic]}"));
  const std::string here = host_guarantees().missing(guarantee_names());
  const std::string all = "{require: [namespaces, seccomp, landlock, control_group, other_user, warm_python]}";
  if (here.empty()) CHECK(make_reward("code", all) != nullptr);
  else CHECK_THROWS_WITH((void)make_reward("code", all), doctest::Contains("this host does not give"));
}

TEST_CASE("a row's checker decides in the reward too") {
  if (absent("python")) return;
  SampleGroup group;
  group.prompt.columns["tests"] = R"([{"input":"10","output":""}])";
  group.prompt.columns["checker"] = "import sys\na, b = map(int, open(sys.argv[2]).read().split())\nsys.exit(a + b != int(open(sys.argv[1]).read()))\n";
  for (const char* text : {"```python\nprint(4, 6)\n```", "```python\nprint(9, 1)\n```", "```python\nprint(9, 2)\n```"}) {
    group.completions.emplace_back();
    group.completions.back().text = std::string("<think>t</think>") + text;
  }
  std::vector<RewardResult> r(3);
  const auto reward = make_reward("code");
  CHECK(reward->check_prompt(group.prompt) == "");
  reward->score(group, r);
  CHECK(r[0].value == 1.f);
  CHECK(r[1].value == 1.f);
  CHECK(r[2].value == 0.f);
}

TEST_CASE("the code reward pays by share or all or nothing") {
  if (absent("python")) return;
  SampleGroup group;
  group.prompt.columns["tests"] = R"([{"input":"1","output":"1"},{"input":"2","output":"2"}])";
  const auto add = [&](const std::string& text) {
    group.completions.emplace_back();
    group.completions.back().text = text;
  };
  add("<think>t</think>```python\nprint(input())\n```");
  add("<think>\n```python\nprint(input())\n```\n");
  add("```python\nprint(1)\n```");
  add("no program");
  const auto share = make_reward("code");
  CHECK(share->check_prompt(group.prompt) == "");
  CHECK(share->check_prompt(Prompt{}) != "");
  std::vector<RewardResult> r(4);
  share->score(group, r);
  CHECK(r[0].verdict == Verdict::kCorrect);  // the fence may follow </think> on its line
  CHECK(r[1].detail == "think_not_closed");
  CHECK(r[2].value == 0.5f);
  CHECK(r[2].verdict == Verdict::kWrong);
  CHECK(r[3].detail == "no_program");
  group.completions[0].text = "<think>t</think>\n```python\nprint(input())\n```";
  std::vector<RewardResult> all(4);
  make_reward("code", "{pay: all, limits: {wall_ms: 5000}}")->score(group, all);
  CHECK(all[0].value == 1.f);
  CHECK(all[0].verdict == Verdict::kCorrect);
  CHECK(all[2].value == 0.f);
}

}  // namespace
}  // namespace r1
