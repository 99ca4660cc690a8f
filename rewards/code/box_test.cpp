// One program in one box: what comes out, and that limits hold. Hostile programs are in hostile_test.cpp.
#include "rewards/code/box.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "rewards/code/box_internal.h"
#include "rewards/code/box_test_support.h"

namespace r1::code {
namespace {

namespace fs = std::filesystem;

Outcome python(const std::string& program, const std::string& input = "", const Limits& limits = {}) {
  return test::run_python(program, input, limits);
}
using test::absent;

TEST_CASE("the host's guarantees are told one a line") {
  const Guarantees& g = host_guarantees();
  CHECK(g.lines().size() == 6);
  for (const std::string& line : g.lines()) MESSAGE(line);
  CHECK(g.seccomp);
}

TEST_CASE("a program reads stdin and its output, errors, exit code and use come back") {
  if (absent()) return;
  const Outcome o = python("import sys\nprint(int(input()) * 2)\nprint('e', file=sys.stderr)\nsys.exit(3)\n", "21\n");
  CAPTURE(o.detail);
  CAPTURE(o.errors);
  CHECK(o.end == End::kExited);
  CHECK(o.status == 3);
  CHECK(o.output == "42\n");
  CHECK(o.errors == "e\n");
  CHECK(o.cpu_ms > 0);
  CHECK(o.wall_ms > 0);
}

TEST_CASE("a large thing that all boxes share is a descriptor that no box can change") {
  if (absent()) return;
  const Fd shared = sealed_input("shared bytes");
  Job job;
  job.argv = {"/usr/bin/python3", "-I", "main.py"};
  job.files = {{"main.py", "import os\nprint(open('link').read(), os.pread(9, 6, 0), os.listdir('/proc/self/fd') == ['0', '1', '2', '3', '9'])\n"
                           "for act in (lambda: os.write(9, b'x'), lambda: os.ftruncate(9, 0), lambda: os.write(os.open('link', os.O_RDWR), b'x')):\n"
                           "  try: act(); print('changed')\n  except OSError: print('kept')\n"},
               {"link", "/proc/self/fd/9", false, true}};
  job.asset_fd = shared.get();
  for (const bool warm : {true, false}) {
    job.warm = warm;
    const Outcome o = run_in_box(job);
    CAPTURE(o.detail);
    CAPTURE(o.errors);
    CHECK(o.output == "shared bytes b'shared' True\nkept\nkept\nkept\n");
  }
}

TEST_CASE("a folder beside /usr is there to be read") {
  if (absent()) return;
  const fs::path folder = "/etc/r1-box-test-" + std::to_string(getpid());
  std::error_code none;
  if (!fs::create_directory(folder, none)) return;  // not root
  std::ofstream(folder / "x") << "settings";
  Job job;
  job.argv = {"/usr/bin/python3", "-I", "main.py"};
  job.files = {{"main.py", "import os\nd = '" + folder.string() + "'\nprint(open(d + '/x').read(), len(os.listdir('/etc')))\n"
                           "try: open(d + '/y', 'w')\nexcept OSError: print('kept')\n"}};
  job.folders = {folder.string(), "/etc/r1-not-there"};
  const Outcome o = run_in_box(job);
  fs::remove_all(folder, none);
  CAPTURE(o.detail);
  CAPTURE(o.errors);
  CHECK(o.output.rfind("settings", 0) == 0);
  CHECK(o.output.find("kept") != std::string::npos);
}

TEST_CASE("a signal is told from an exit code") {
  if (absent()) return;
  const Outcome o = python("import os\nos.kill(os.getpid(), 11)\n");
  CHECK(o.end == End::kSignalled);
  CHECK(o.status == 11);
}

TEST_CASE("a large input and threads, children and temporary files work") {
  if (absent()) return;
  const Outcome o = python(R"(import sys, threading, subprocess, tempfile, multiprocessing
def square(x): return x * x
if __name__ == '__main__':
    n = len(sys.stdin.read())
    out = []
    t = [threading.Thread(target=lambda i=i: out.append(i)) for i in range(4)]
    [x.start() for x in t]; [x.join() for x in t]
    with tempfile.TemporaryFile() as f: f.write(b'x' * 1000)
    said = subprocess.run(['/usr/bin/echo', 'hi'], capture_output=True, text=True).stdout.strip()
    with multiprocessing.Pool(2) as pool: squares = pool.map(square, [1, 2, 3])
    print(n, sorted(out), said, squares)
)", std::string(3'000'000, 'a'));
  CAPTURE(o.detail);
  CAPTURE(o.errors);
  CHECK(o.end == End::kExited);
  CHECK(o.output == "3000000 [0, 1, 2, 3] hi [1, 4, 9]\n");
}

TEST_CASE("a missing program is our fault, not the program's") {
  if (absent()) return;
  Job job;
  job.argv = {"/usr/bin/no-such-program"};
  const Outcome o = run_in_box(job);
  CHECK(o.end == End::kInternal);
  CHECK(o.detail.find("execve") == 0);
}

TEST_CASE("a file of the box comes back after exit 0 only") {
  if (absent()) return;
  Job job;
  job.argv = {"/usr/bin/sh", "-c", "echo made > made.txt; exit $(cat)"};
  job.fetch = "made.txt";
  job.input = "0";
  CHECK(run_in_box(job).fetched == "made\n");
  job.input = "1";
  CHECK(run_in_box(job).fetched.empty());
}

TEST_CASE("stdin may be a socket, to speak with the program") {
  if (absent()) return;
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  Job job;
  job.argv = {"/usr/bin/sh", "-c", "read line; echo \"heard $line\" >&0"};
  job.input_fd = fds[0];
  REQUIRE(write(fds[1], "hello\n", 6) == 6);
  CHECK(run_in_box(job).output.empty());
  shutdown(fds[0], SHUT_WR);
  char answer[64] = {};
  CHECK(read(fds[1], answer, sizeof answer - 1) == 12);
  CHECK(std::string(answer) == "heard hello\n");
  close(fds[0]);
  close(fds[1]);
}

}  // namespace
}  // namespace r1::code
