// Hosts that cannot isolate: refused by default, and what runs once the user has allowed it.
#include "rewards/code/unboxed.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "rewards/code/box_test_support.h"
#include "rewards/code/judge.h"
#include "rewards/factory.h"

namespace r1::code {
namespace {

namespace fs = std::filesystem;

Outcome python(const std::string& program, const std::string& input = "", std::int64_t wall_ms = 20'000) {
  Job job;
  job.argv = {"/usr/bin/python3", "-I", "main.py"};
  job.files = {{"main.py", program}};
  job.input = input;
  job.limits.wall_ms = wall_ms;
  job.limits.output_kb = 64;
  return run_unboxed(job);
}

bool put(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool ok = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(fd);
  return ok;
}

TEST_CASE("without a box a program still has limits, a filter, and leaves no process and no file") {
  if (access("/usr/bin/python3", X_OK) != 0) return r1::test::skip("no /usr/bin/python3");
  const Outcome o = python("import os, sys\nprint(int(input()) * 2, os.getuid() != 0)\nprint('e', file=sys.stderr)\nsys.exit(3)\n", "21\n");
  CAPTURE(o.detail);
  CHECK(o.end == End::kExited);
  CHECK(o.status == 3);
  CHECK(o.output == "42 True\n");
  CHECK(o.errors == "e\n");
  CHECK(python("import time\ntime.sleep(60)\n", "", 300).end == End::kWallTime);
  CHECK(python("while True: print('x' * 1000)\n").end == End::kOutput);
  CHECK(python("import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)\n").end == End::kForbiddenCall);
  CHECK(python("import socket\nsocket.socket()\n").status == 1);
  const Outcome daemon = python("import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(300)\n    os._exit(0)\n"
                                "os.wait()\nprint(os.getcwd())\n");
  CHECK(daemon.end == End::kExited);
  CHECK(daemon.wall_ms < 19'000);  // its output would be open for as long as the daemon lives
  CHECK(!fs::exists(daemon.output.substr(0, daemon.output.size() - 1)));
}

TEST_CASE("inside a host that cannot isolate (run by the next test)") {
  if (!std::getenv("R1_TEST_NO_ISOLATION")) return;
  CHECK(!host_guarantees().namespaces);
  CHECK(host_guarantees().lines()[0].find("not in force") != std::string::npos);
  CHECK_THROWS_WITH_AS(require_isolation(), doctest::Contains("allow_unisolated: true"), Error);
  Submission s;
  s.program = "print(int(input()) ** 2)\n";
  s.tests = {{.input = "5\n", .output = "25\n"}};
  CHECK_THROWS_AS((void)judge(s), Error);
  (void)make_reward("code", "{language: python}");
  CHECK_THROWS_AS((void)judge(s), Error);
  (void)make_reward("code", "{allow_unisolated: true}");  // the recipe's key
  CHECK(std::string(to_string(judge(s).verdict)) == "accepted");
  s.program = "print(24)\n";
  CHECK(std::string(to_string(judge(s).verdict)) == "wrong_answer");
  allow_unisolated(false);
  CHECK_THROWS_AS((void)judge(s), Error);
}

TEST_CASE("a host without user namespaces refuses until it is told otherwise") {
  if (test::absent()) return;
  const std::string uid = std::to_string(geteuid()), gid = std::to_string(getegid());
  const pid_t pid = fork();
  if (pid == 0) {
    // A user namespace that may make no further one is such a host.
    if (unshare(CLONE_NEWUSER) != 0 || !put("/proc/self/setgroups", "deny") || !put("/proc/self/uid_map", "1000 " + uid + " 1") ||
        !put("/proc/self/gid_map", "1000 " + gid + " 1") || !put("/proc/sys/user/max_user_namespaces", "0"))
      _exit(91);
    setenv("R1_TEST_NO_ISOLATION", "1", 1);
    execl("/proc/self/exe", "no-isolation", "-tc=inside a host*", nullptr);
    _exit(91);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 91) {
    MESSAGE("skipped: no such host can be made here");
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace r1::code
