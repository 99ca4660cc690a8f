// Assert-style tests: two boxes and a socket. The tests never meet the program's code, the program never meets the
// expected values; calls and results pass by value (python/value_codec.py).
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/error.h"
#include "rewards/code/judge_internal.h"
#include "rewards/code/python_drivers.h"
#include "rewards/code/toolchain.h"

namespace r1::code {
namespace {

using Json = nlohmann::json;

struct SocketPair {
  int program = -1, tests = -1;
  SocketPair() {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0) program = fds[0], tests = fds[1];
  }
  ~SocketPair() {
    if (program >= 0) close(program);
    if (tests >= 0) close(tests);
  }
  SocketPair(const SocketPair&) = delete;
  SocketPair& operator=(const SocketPair&) = delete;
};

std::string joined(std::initializer_list<std::string_view> parts) {
  std::string all;
  for (const std::string_view part : parts) all.append(part).append("\n\n");
  return all;
}

Job program_job(const Submission& s, const TestCase& test, int socket) {
  Job job;
  job.argv = find_language("python")->run;
  job.files = {{"main.py", joined({kValueCodec, kSolutionModule, kServeSolution})},
               {"solution.py", s.program},
               {"prelude.py", test.prelude}};
  job.limits = s.limits;
  job.input_fd = socket;
  return job;
}

Job tests_job(const Submission& s, const TestCase& test, int socket) {
  Job job;
  job.argv = find_language("python")->run;
  const Json config = {{"prelude", test.prelude},
                       {"setup", test.setup},
                       {"tests", test.asserts},
                       {"entry_point", test.entry_point},
                       {"most_bytes", s.limits.output_kb * 1024}};
  job.files = {{"main.py", joined({kValueCodec, kTrustedTests})},
               {"tests.json", config.dump(-1, ' ', true, Json::error_handler_t::replace)}};
  // Values of the program are copied here, and the tests wait for the program.
  job.limits.wall_ms = s.limits.wall_ms + 15'000;
  job.limits.cpu_ms = s.limits.cpu_ms + 10'000;
  job.limits.memory_mb = s.limits.memory_mb + 512;
  job.input_fd = socket;
  return job;
}

// The tests' box ended by a limit of its own. Only values of the program can have driven it there, if it used any.
TestRun tests_over_limit(const Outcome& tests) {
  TestRun run;
  run.why = "the tests' own box: " + story(tests);
  if (tests.output.rfind("used\n", 0) != 0 || tests.end == End::kInternal) return run;
  run.verdict = verdict_of(tests);
  if (run.verdict == CodeVerdict::kAccepted || run.verdict == CodeVerdict::kSandboxViolation) run.verdict = CodeVerdict::kInternalError;
  return run;
}

TestRun conclude(const Outcome& program, const Outcome& tests, const Limits& limits) {
  TestRun run;
  const auto is = [&](CodeVerdict verdict, std::string why) {
    run.verdict = verdict;
    run.why = std::move(why);
    return run;
  };
  if (program.end == End::kInternal) return is(CodeVerdict::kInternalError, story(program));
  if (program.end != End::kExited) return is(verdict_of(program), story(program));
  const std::size_t last = tests.output.size() < 2 ? std::string::npos : tests.output.rfind('\n', tests.output.size() - 2);
  const Json report = Json::parse(tests.output.substr(last == std::string::npos ? 0 : last + 1), nullptr, false);
  if (tests.end != End::kExited || tests.status != 0 || !report.is_object()) return tests_over_limit(tests);
  const std::string end = report.value("end", ""), why = report.value("why", "");
  if (end == "raised") return is(CodeVerdict::kRuntimeError, why);
  if (end == "failed") return is(CodeVerdict::kWrongAnswer, why);
  if (end == "malformed") return is(CodeVerdict::kWrongAnswer, "the program broke the protocol of calls");
  if (end == "output") return is(CodeVerdict::kOutputLimit, message("a value of more than ", limits.output_kb, " kB"));
  if (end == "broken") return is(CodeVerdict::kInternalError, "the tests themselves failed: " + why);
  if (program.status != 0) return is(CodeVerdict::kRuntimeError, story(program));
  if (end == "lost") return is(CodeVerdict::kWrongAnswer, "the program ended before the tests did");
  if (end == "passed") return is(CodeVerdict::kAccepted, "");
  return is(CodeVerdict::kInternalError, "the tests' box said '" + end + "'");
}

}  // namespace

TestRun run_asserts(const Submission& s, const TestCase& test) {
  const SocketPair sockets;
  if (sockets.program < 0) {
    TestRun run;
    run.why = message("socketpair: ", std::strerror(errno));
    return run;
  }
  Outcome program, tests;
  {
    // When one side ends, the other must not wait for it: shutdown() reaches every copy of the descriptor.
    const std::jthread second([&] {
      tests = run_in_box(tests_job(s, test, sockets.tests));
      shutdown(sockets.tests, SHUT_RDWR);
    });
    program = run_in_box(program_job(s, test, sockets.program));
    shutdown(sockets.program, SHUT_RDWR);
  }
  TestRun run = conclude(program, tests, s.limits);
  run.cpu_ms = program.cpu_ms;
  run.wall_ms = program.wall_ms;
  run.memory_kb = program.memory_kb;
  return run;
}

}  // namespace r1::code
