#include "rewards/code/judge.h"

#include <algorithm>

#include "core/error.h"
#include "rewards/code/compare_output.h"
#include "rewards/code/isolation.h"
#include "rewards/code/judge_internal.h"
#include "rewards/code/python_drivers.h"
#include "rewards/code/toolchain.h"

namespace r1::code {

std::string tail(const std::string& text) {
  constexpr std::size_t kMost = 400;
  return text.size() <= kMost ? text : "..." + text.substr(text.size() - kMost);
}

CodeVerdict verdict_of(const Outcome& o) {
  switch (o.end) {
    case End::kExited: return o.status == 0 ? CodeVerdict::kAccepted : CodeVerdict::kRuntimeError;
    case End::kSignalled: return CodeVerdict::kRuntimeError;
    case End::kWallTime:
    case End::kCpuTime: return CodeVerdict::kTimeLimit;
    case End::kMemory: return CodeVerdict::kMemoryLimit;
    case End::kOutput: return CodeVerdict::kOutputLimit;
    case End::kForbiddenCall: return CodeVerdict::kSandboxViolation;
    case End::kInternal: break;
  }
  return CodeVerdict::kInternalError;
}

std::string story(const Outcome& o) {
  const std::string end = o.end == End::kExited      ? message("exit code ", o.status)
                          : o.end == End::kSignalled ? message("signal ", o.status)
                                                     : o.detail;
  return end + (o.errors.empty() ? "" : (end.empty() ? "" : ": ") + tail(o.errors));
}

namespace {

// What is needed beside the submission for all of its tests.
struct Prepared {
  const Language* language = nullptr;
  Built program;
  const Language* checker_language = nullptr;
  Built checker;
};

Job job_of(const Submission& s, const Prepared& prepared, const TestCase& test) {
  Job job;
  job.limits = s.limits;
  if (!test.call.empty()) {
    job.argv = prepared.language->run;
    job.files = {{"main.py", std::string(kSolutionModule) + std::string(kCallSolution)}, {"solution.py", s.program}};
    job.input = test.call;
  } else {
    job.input = test.input;
    add_program(job, *prepared.language, s.program, prepared.program);
  }
  return job;
}

TestRun run_test(const Submission& s, const Prepared& prepared, const TestCase& test) {
  if (!test.asserts.empty()) return run_asserts(s, test);
  Job job = job_of(s, prepared, test);
  // Files the runner itself puts into the box must not eat into what the program may write.
  for (const BoxFile& f : job.files) job.limits.file_mb += static_cast<std::int64_t>(f.bytes.size() >> 20) + 1;
  const Outcome o = run_in_box(job);
  TestRun run{verdict_of(o), "", o.cpu_ms, o.wall_ms, o.memory_kb};
  if (run.verdict != CodeVerdict::kAccepted) {
    run.why = story(o);
    const std::string& words = prepared.language->memory_words;
    if (run.verdict == CodeVerdict::kRuntimeError && !words.empty() && o.errors.find(words) != std::string::npos)
      run.verdict = CodeVerdict::kMemoryLimit;
  } else if (prepared.checker_language && test.call.empty()) {
    const TestRun checked = check_output(s.checker, *prepared.checker_language, prepared.checker, test, o.output);
    run.verdict = checked.verdict;
    run.why = checked.why;
  } else if (!(test.call.empty() ? same_output(o.output, test.output, s.tolerance)
                                 : same_json(o.output, test.expected, s.tolerance))) {
    run.verdict = CodeVerdict::kWrongAnswer;
    run.why = "got " + tail(o.output);
  }
  return run;
}

}  // namespace

const char* to_string(CodeVerdict v) {
  constexpr const char* kNames[] = {"accepted", "wrong_answer", "runtime_error", "time_limit", "memory_limit", "output_limit",
                                    "compile_error", "sandbox_violation", "internal_error"};
  return kNames[static_cast<std::size_t>(v)];
}

Judgement judge(const Submission& s) {
  Judgement j;
  j.total = static_cast<int>(s.tests.size());
  const auto ours = [&](std::string reason) {
    j.reason = std::move(reason);
    return j;
  };
  Prepared prepared;
  const auto find = [&](const std::string& name, const Language*& into) {
    into = find_language(name);
    return !into              ? message("the runner knows no language '", name, "'")
           : !into->installed() ? message(into->needs, " is not installed")
                                : std::string();
  };
  if (const std::string problem = find(s.language, prepared.language); !problem.empty()) return ours(problem);
  if (s.tests.empty()) return ours("no tests");
  bool python_only = false, by_output = false;
  for (const TestCase& t : s.tests) (t.call.empty() && t.asserts.empty() ? by_output : python_only) = true;
  if (python_only && prepared.language->name != "python") return ours("calls and asserts are judged in Python only");
  if (!s.checker.program.empty() && by_output) {
    if (const std::string problem = find(s.checker.language, prepared.checker_language); !problem.empty())
      return ours("checker: " + problem);
    prepared.checker = build_program(*prepared.checker_language, s.checker.program, s.checker.files);
    if (prepared.checker.kind != Built::kMade) return ours("the checker does not build: " + prepared.checker.reason);
  }
  prepared.program = build_program(*prepared.language, s.program);
  if (prepared.program.kind == Built::kInternal) return ours(prepared.program.reason);
  if (prepared.program.kind == Built::kRefused) {
    j.verdict = CodeVerdict::kCompileError;
    return ours(prepared.program.reason);
  }

  j.verdict = CodeVerdict::kAccepted;
  for (int i = 0; i < j.total; ++i) {
    TestRun run = run_test(s, prepared, s.tests[static_cast<std::size_t>(i)]);
    j.cpu_ms += run.cpu_ms;
    j.wall_ms += run.wall_ms;
    j.memory_kb = std::max(j.memory_kb, run.memory_kb);
    if (run.verdict == CodeVerdict::kInternalError) {  // then nothing is known of the submission
      j.verdict = run.verdict;
      return ours(message("test ", i + 1, ": ", run.why));
    }
    if (run.verdict == CodeVerdict::kAccepted) {
      ++j.passed;
    } else if (j.verdict == CodeVerdict::kAccepted) {
      j.verdict = run.verdict;
      j.reason = message("test ", i + 1, ": ", run.why);
      if (s.stop_at_first) return j;
    }
  }
  return j;
}

}  // namespace r1::code
