// Programs that attack the machine or the verdict. What they did is checked from outside, not by what they say.
// Every program is bounded by small limits, and each would also end by itself.
#include <arpa/inet.h>
#include <dirent.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "rewards/code/box.h"
#include "rewards/code/box_test_support.h"

namespace r1::code {
namespace {

Limits small() {
  Limits l;
  l.wall_ms = 1500;
  l.cpu_ms = 1000;
  l.memory_mb = 96;
  l.processes = 16;
  l.file_mb = 8;
  l.output_kb = 64;
  return l;
}

Outcome attack(const std::string& program, const Limits& limits = small()) {
  return test::run_python("import os, sys, time, ctypes, socket, signal\nlibc = ctypes.CDLL(None, use_errno=True)\n" + program, "",
                          limits);
}
using test::absent;

// Processes of this machine whose command line holds `mark`.
int processes_with(const std::string& mark) {
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline");
    std::stringstream text;
    text << file.rdbuf();
    found += text.str().find(mark) != std::string::npos;
  }
  return found;
}

TEST_CASE("resources") {
  if (absent()) return;
  SUBCASE("1 fork bomb: never more than the limit, nothing left") {
    const Outcome o = attack(R"(
n = 0
for i in range(200):
    try:
        if os.fork() == 0:
            time.sleep(60); os._exit(0)
        n += 1
    except OSError: pass
print(n)
)");
    CHECK(o.end == End::kExited);
    CHECK(std::stoi("0" + o.output) > 0);
    CHECK(std::stoi("0" + o.output) < 17);
  }
  SUBCASE("2 memory in one process") {
    const Outcome o = attack("x = []\nfor i in range(400): x.append(bytearray(1 << 20)); time.sleep(0.002)\nprint('had it all')\n");
    CHECK(o.end == End::kMemory);
    CHECK(o.output.empty());
  }
  SUBCASE("3 memory spread over children, each below the limit") {
    const Outcome o = attack(R"(
for i in range(6):
    if os.fork() == 0:
        x = bytearray(os.urandom(1 << 20)) * 40
        time.sleep(60)
time.sleep(60)
)");
    CHECK(o.end == End::kMemory);
    CHECK(o.wall_ms < 1400);
  }
  SUBCASE("4 output flood") {
    const Outcome o = attack("for i in range(100000): sys.stdout.write('x' * 4096)\n");
    CHECK(o.end == End::kOutput);
    CHECK(o.output.size() == 64 * 1024);
  }
  SUBCASE("5 flood of the error stream") {
    const Outcome o = attack("for i in range(100000): sys.stderr.write('x' * 4096)\n");
    CHECK(o.end == End::kOutput);
  }
  SUBCASE("6 sleeping past the limit") {
    const Outcome o = attack("signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)\n");
    CHECK(o.end == End::kWallTime);
    CHECK(o.wall_ms >= 1500);
    CHECK(o.wall_ms < 4000);
  }
  SUBCASE("7 a busy loop that ignores SIGXCPU") {
    Limits l = small();
    l.wall_ms = 20'000;
    l.cpu_ms = 300;
    const Outcome o = attack("signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass\n", l);
    CHECK(o.end == End::kCpuTime);
    CHECK(o.wall_ms < 15'000);
  }
  SUBCASE("8 CPU time hidden in short-lived children") {
    Limits l = small();
    l.wall_ms = 20'000;
    l.cpu_ms = 400;
    const Outcome o = attack(R"(
while True:
    if os.fork() == 0:
        end = time.process_time() + 0.05
        while time.process_time() < end: pass
        os._exit(0)
    os.wait()
)", l);
    CHECK(o.end == End::kCpuTime);
    CHECK(o.wall_ms < 15'000);
  }
  SUBCASE("9 filling the disk") {
    const Outcome o = attack(R"(
try:
    for i in range(64):
        with open('/tmp/f%d' % i, 'wb') as f: f.write(b'x' * (1 << 20))
    print('all 64')
except OSError as e: print('stopped', e.errno)
)");
    CHECK(o.output == "stopped 28\n");  // ENOSPC
  }
  SUBCASE("10 a sparse file past the limit") {
    const Outcome o = attack("f = open('big', 'wb')\nf.seek(1 << 34)\nf.write(b'x')\nf.flush()\nprint('made')\n");
    CHECK(o.output.empty());
  }
}

TEST_CASE("reaching out") {
  if (absent()) return;
  SUBCASE("11 host files: passwords, homes, other processes") {
    const std::string secret = "/var/tmp/r1-code-secret-" + std::to_string(getpid());
    std::ofstream(secret) << "secret";
    const Outcome o = attack(R"(
for p in ['/etc/shadow', '/etc/passwd', '/root', '/home', '/work', '/var', '/sys', '/run', ')" + secret + R"(']:
    try:
        os.stat(p); print('seen', p)
    except OSError: pass
print(sorted(p for p in os.listdir('/proc') if p.isdigit())[:5])
)");
    CHECK(o.end == End::kExited);
    CHECK(o.output == "['1', '2']\n");
    std::filesystem::remove(secret);
  }
  SUBCASE("12 writing outside the working directory") {
    const std::string name = "/usr/r1-code-" + std::to_string(getpid());
    const Outcome o = attack("for p in ['" + name + "', '/x', '/etc/x', '/dev/x', '/bin/x', '/proc/sys/kernel/core_pattern']:\n"
                             "    try:\n        open(p, 'w').write('x'); print('wrote', p)\n    except OSError: pass\n");
    CHECK(o.end == End::kExited);
    CHECK(o.output.empty());
    CHECK(!std::filesystem::exists(name));
  }
  SUBCASE("13 the network: a listener of this machine hears nothing") {
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(bind(server, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(listen(server, 4) == 0);
    getsockname(server, reinterpret_cast<sockaddr*>(&address), &size);
    const Outcome o = attack("for family in [socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, 40]:\n"
                             "    try:\n        s = socket.socket(family, socket.SOCK_STREAM if family != 17 else socket.SOCK_RAW)\n"
                             "        print('socket', family)\n        s.connect(('127.0.0.1', " +
                             std::to_string(ntohs(address.sin_port)) + "))\n    except OSError: pass\n");
    CHECK(o.end == End::kExited);
    CHECK(o.output.empty());
    CHECK(accept(server, nullptr, nullptr) < 0);
    close(server);
  }
  SUBCASE("14 killing everything it can name") {
    const pid_t victim = fork();
    if (victim == 0) {
      pause();
      _exit(0);
    }
    const Outcome o = attack("for p in list(range(1, 65536, 1)):\n    try:\n        if p != os.getpid(): os.kill(p, 9)\n"
                             "    except OSError: pass\ntry: os.kill(os.getppid(), 9)\nexcept OSError: pass\nprint('done')\n");
    CHECK(o.output == "done\n");  // and the box's own process 1 still told the result
    CHECK(o.end == End::kExited);
    int status = 0;
    CHECK(waitpid(victim, &status, WNOHANG) == 0);
    kill(victim, SIGKILL);
    waitpid(victim, &status, 0);
  }
  SUBCASE("15 background children that outlive the program") {
    const std::string mark = "r1-orphan-" + std::to_string(getpid());
    const Outcome o = attack("for i in range(3):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n"
                             "            os.execv('/usr/bin/python3', ['python3', '-c', 'import time; time.sleep(30)', '" + mark +
                             "'])\n        os._exit(0)\ntime.sleep(0.3)\nprint('left')\n");
    CHECK(o.output == "left\n");
    CHECK(o.wall_ms < 1500);
    CHECK(processes_with(mark) == 0);
  }
  SUBCASE("16 attacks by system call end the program, and the verdict says so") {
    for (const char* call : {"libc.ptrace(0, 0, 0, 0)", "libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0)", "libc.unshare(0x10000000)",
                             "libc.chroot(b'/')", "libc.syscall(321, 0, 0, 0)", "libc.syscall(250, 0, 0, 0)"}) {
      CAPTURE(call);
      CHECK(attack(std::string(call) + "\nprint('alive')\n").end == End::kForbiddenCall);
    }
  }
  SUBCASE("17 calls that do not exist in the box: io_uring, memfd, clone3, SysV memory") {
    const Outcome o = attack("for n in [425, 319, 435, 29]: print(libc.syscall(n, 0, 0, 0), ctypes.get_errno())\n");
    CHECK(o.output == "-1 38\n-1 38\n-1 38\n-1 38\n");
  }
  SUBCASE("18 no new namespaces by clone, no devices, no raised limits, no capabilities") {
    const Outcome o = attack(R"(
import resource
print(libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0))
try: os.mknod('/w/box/d', 0o20666, os.makedev(1, 1)); print('device')
except OSError: pass
try: resource.setrlimit(resource.RLIMIT_NPROC, (9999, 9999)); print('raised')
except (OSError, ValueError): pass
print([l.split()[1] for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapPrm', 'CapBnd', 'NoNewPrivs', 'Seccomp:'))])
)");
    CHECK(o.output == "-1\n['0000000000000000', '0000000000000000', '0000000000000000', '1', '2']\n");
  }
  SUBCASE("19 environment and descriptors of the maker") {
    setenv("R1_SECRET", "hush", 1);
    const Outcome o = attack("print('R1_SECRET' in os.environ, sorted(os.listdir('/proc/self/fd')))\n");
    CHECK(o.output == "False ['0', '1', '2', '3']\n");  // 3 is the listing itself
  }
  SUBCASE("20 process 1 is out of reach: memory, environment, root, open files") {
    // An ordinary user's box shares its id with process 1; capabilities and Landlock keep them apart all the same.
    const Outcome o = attack(R"(
for p in ['mem', 'environ', 'maps', 'auxv']:
    try: print('read', p, open('/proc/1/' + p, 'rb').read(1))
    except OSError: pass
for p in ['root', 'cwd', 'exe'] + ['fd/%d' % i for i in range(64)]:
    try: print('link', p, os.readlink('/proc/1/' + p))
    except OSError: pass
)");
    CHECK(o.end == End::kExited);
    CHECK(o.output == "");
  }
}

TEST_CASE("21 a box leaves no mount, no descriptor and no process behind") {
  if (absent()) return;
  const auto count = [](const char* dir) {
    return std::distance(std::filesystem::directory_iterator(dir), std::filesystem::directory_iterator());
  };
  const auto mounts = [] {
    std::ifstream file("/proc/self/mounts");
    return std::count(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>(), '\n');
  };
  attack("pass\n");
  const auto fds = count("/proc/self/fd");
  const auto before = mounts();
  for (int i = 0; i < 3; ++i) attack("import subprocess\nsubprocess.Popen(['/usr/bin/sleep', '30'])\n");
  CHECK(count("/proc/self/fd") == fds);
  CHECK(mounts() == before);
  int status = 0;
  CHECK(waitpid(-1, &status, WNOHANG) <= 0);  // no child that has ended; warm interpreters wait on
}

}  // namespace
}  // namespace r1::code
