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

// A compiler needs more than a contest program, and its time is no fault of a slow test.
Limits build_limits() {
  Limits l;
  l.wall_ms = 60'000;
  l.cpu_ms = 30'000;
  l.memory_mb = 1024;
  l.file_mb = 128;
  l.output_kb = 256;
  return l;
}

Job job_of(const Submission& s, const Language& language, const TestCase& test, const std::string& binary) {
  Job job;
  job.limits = s.limits;
  job.argv = language.run;
  if (!test.call.empty()) {
    job.files = {{"main.py", std::string(kSolutionModule) + std::string(kCallSolution)}, {"solution.py", s.program}};
    job.input = test.call;
  } else {
    job.input = test.input;
    if (language.build.empty()) job.files = {{language.file, s.program}};
    else job.files = {{"main", binary, true}};
  }
  return job;
}

TestRun run_test(const Submission& s, const Language& language, const TestCase& test, const std::string& binary) {
  if (!test.asserts.empty()) return run_asserts(s, test);
  Job job = job_of(s, language, test, binary);
  // Files the runner itself puts into the box must not eat into what the program may write.
  for (const BoxFile& f : job.files) job.limits.file_mb += static_cast<std::int64_t>(f.bytes.size() >> 20) + 1;
  const Outcome o = run_in_box(job);
  TestRun run{verdict_of(o), "", o.cpu_ms, o.wall_ms, o.memory_kb};
  if (run.verdict != CodeVerdict::kAccepted) {
    run.why = story(o);
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
  const Language* language = find_language(s.language);
  if (!language) return ours(message("the runner knows no language '", s.language, "'"));
  if (!language->installed())
    return ours(message((language->build.empty() ? language->run : language->build)[0], " is not installed"));
  if (s.tests.empty()) return ours("no tests");
  for (const TestCase& t : s.tests)
    if ((!t.call.empty() || !t.asserts.empty()) && language->name != "python")
      return ours("calls and asserts are judged in Python only");

  std::string binary;
  if (!language->build.empty()) {
    Job build;
    build.argv = language->build;
    build.files = {{language->file, s.program}};
    build.limits = build_limits();
    build.fetch = "main";
    Outcome o = run_in_box(build);
    if (o.end == End::kInternal) return ours("build: " + o.detail);
    if (o.end != End::kExited || o.status != 0 || o.fetched.empty()) {
      j.verdict = CodeVerdict::kCompileError;
      return ours(story(o));
    }
    binary = std::move(o.fetched);
  }

  j.verdict = CodeVerdict::kAccepted;
  for (int i = 0; i < j.total; ++i) {
    TestRun run = run_test(s, *language, s.tests[static_cast<std::size_t>(i)], binary);
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
