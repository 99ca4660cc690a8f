// Special judges: a program of the data row decides about an output. It meets bytes alone: the submission is gone before
// the checker's box is made.
#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "rewards/code/judge_internal.h"

namespace r1::code {
namespace {

// 1 right, 0 wrong, -1 the checker failed.
int said(const Checker& checker, const Outcome& o, std::string& why) {
  constexpr int kWrong = 1, kBadForm = 2, kPoints = 7;  // of testlib; its 3 is "the checker failed"
  const std::string words = tail(o.errors.empty() ? o.output : o.errors);
  if (o.end != End::kExited) return why = story(o), -1;
  if (!checker.printed) {
    if (o.status == 0) return 1;
    why = words.empty() ? message("the checker's exit code is ", o.status) : words;
    return o.status == kWrong || o.status == kBadForm || o.status == kPoints ? 0 : -1;
  }
  if (o.status != 0) return why = story(o), -1;
  std::string word;
  for (const char c : o.output)
    if (!std::isspace(static_cast<unsigned char>(c))) word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto is = [&](std::initializer_list<const char*> list) { return std::find(list.begin(), list.end(), word) != list.end(); };
  if (is({"accepted", "ok", "correct", "yes", "true", "1"})) return 1;
  why = "the checker printed " + tail(o.output);
  return is({"wrong_answer", "wrong", "incorrect", "no", "false", "0"}) ? 0 : -1;
}

int ask(const Checker& checker, const Language& language, const Built& built, const TestCase& test, const std::string& output,
        std::string& why, bool& ours) {
  Job job;
  job.limits = checker.limits;
  add_program(job, language, checker.program, built);
  job.files.insert(job.files.end(), checker.files.begin(), checker.files.end());
  job.files.push_back({"input.txt", test.input});
  job.files.push_back({"output.txt", output});
  job.files.push_back({"answer.txt", test.output});
  for (const char* name : {"input.txt", "output.txt", "answer.txt"}) job.argv.push_back(name);
  for (const BoxFile& f : job.files) job.limits.file_mb += static_cast<std::int64_t>(f.bytes.size() >> 20) + 1;
  const Outcome o = run_in_box(job);
  ours = o.end == End::kInternal;
  return said(checker, o, why);
}

}  // namespace

TestRun check_output(const Checker& checker, const Language& language, const Built& built, const TestCase& test,
                     const std::string& output) {
  TestRun run;
  bool ours = false;
  const int answer = ask(checker, language, built, test, output, run.why, ours);
  if (answer >= 0) {
    run.verdict = answer == 1 ? CodeVerdict::kAccepted : CodeVerdict::kWrongAnswer;
    return run;
  }
  std::string ignored;
  if (!ours && output != test.output && ask(checker, language, built, test, test.output, ignored, ours) == 1) {
    run.verdict = CodeVerdict::kWrongAnswer;
    run.why = "the checker cannot read the output: " + run.why;
  } else {
    run.verdict = CodeVerdict::kInternalError;
    run.why = "the checker failed: " + run.why;
  }
  return run;
}

}  // namespace r1::code
