// The corpora of hostile_corpus.txt and honest_corpus.txt through the whole judge, with everything checked from outside.
// By default each program once. With R1_TEST_FULL: every hostile program 5 times, 8 at once, then again as an ordinary
// user if this is root; every honest one 20 times while all cores are kept busy.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "core/error.h"
#include "rewards/code/box_test_support.h"
#include "rewards/code/judge.h"
#include "rewards/code/toolchain.h"

namespace r1::code {
namespace {

namespace fs = std::filesystem;

struct Entry {
  std::string name, second, third, program;
};

std::string trim(std::string s) {
  s.erase(0, s.find_first_not_of(" \n"));
  s.erase(s.find_last_not_of(" \n") + 1);
  return s;
}

std::vector<Entry> read_corpus(const char* file) {
  std::ifstream in(std::string(R1_SOURCE_DIR) + "/rewards/code/" + file);
  REQUIRE_MESSAGE(in.good(), file);
  std::vector<Entry> all;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("### ", 0) == 0) {
      std::stringstream head(line.substr(4));
      Entry e;
      std::getline(head, e.name, '|');
      std::getline(head, e.second, '|');
      std::getline(head, e.third, '|');
      all.push_back({trim(e.name), trim(e.second), trim(e.third), ""});
    } else if (!all.empty()) {
      all.back().program += line + "\n";
    }
  }
  return all;
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) text.replace(at, what.size(), by);
  return text;
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// What an attack could reach on this machine, and whether it did.
class Surroundings {
 public:
  Surroundings() {
    // The word is made at run time, so that only what an attack leaves behind carries it.
    mark_ = "r1mark" + std::to_string(getpid());
    secret_ = (fs::temp_directory_path() / ("r1-hostile-" + std::to_string(getpid()))).string();
    std::ofstream(secret_) << "secret";
    setenv("R1_HOSTILE_SECRET", "EXPECTED-OUTPUT", 1);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    tcp_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(tcp_, reinterpret_cast<sockaddr*>(&a), size) == 0 && listen(tcp_, 8) == 0)
      getsockname(tcp_, reinterpret_cast<sockaddr*>(&a), &size);
    port_ = ntohs(a.sin_port);
    sockaddr_un u{};
    u.sun_family = AF_UNIX;
    std::snprintf(u.sun_path + 1, sizeof u.sun_path - 1, "%s", mark_.c_str());
    local_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)!bind(local_, reinterpret_cast<sockaddr*>(&u), static_cast<socklen_t>(sizeof(sa_family_t) + 1 + mark_.size()));
    listen(local_, 8);
    victim_ = fork();
    if (victim_ == 0) {
      for (;;) pause();
    }
    mounts_ = read_file("/proc/self/mounts");
    shared_ = lines("/proc/sysvipc/shm") + lines("/proc/sysvipc/msg") + lines("/proc/sysvipc/sem");
  }
  ~Surroundings() {
    close(tcp_);
    close(local_);
    kill(victim_, SIGKILL);
    waitpid(victim_, nullptr, 0);
    fs::remove(secret_);
  }

  std::string program(const Entry& e) const {
    std::string p = replaced(e.program, "MARK", mark_);
    p = replaced(p, "PORT", std::to_string(port_));
    p = replaced(p, "ABSTRACT", mark_);
    p = replaced(p, "VICTIM", std::to_string(victim_));
    return replaced(p, "SECRET", secret_);
  }

  void check() const {
    CHECK(accept(tcp_, nullptr, nullptr) < 0);
    CHECK(accept(local_, nullptr, nullptr) < 0);
    int status = 0;
    CHECK(waitpid(victim_, &status, WNOHANG | WUNTRACED) == 0);  // neither dead nor stopped
    CHECK(read_file("/proc/self/mounts") == mounts_);
    CHECK(lines("/proc/sysvipc/shm") + lines("/proc/sysvipc/msg") + lines("/proc/sysvipc/sem") == shared_);
    CHECK(read_file("/proc/keys").find(mark_) == std::string::npos);
    CHECK(read_file(secret_) == "secret");
    for (const char* dir : {"/", "/usr", "/usr/lib/python3", "/etc", "/usr/bin", "/dev", "/dev/shm", "/tmp", "/var/tmp", "/usr/lib"}) {
      std::error_code none;
      for (const auto& f : fs::directory_iterator(dir, none)) {
        CAPTURE(f.path().string());
        CHECK(f.path().filename().string().find(mark_) == std::string::npos);
      }
    }
    for (const auto& p : fs::directory_iterator("/proc")) {
      if (std::isdigit(static_cast<unsigned char>(p.path().filename().string()[0])) == 0) continue;
      CAPTURE(p.path().string());
      CHECK(read_file(p.path() / "cmdline").find(mark_) == std::string::npos);
    }
  }

 private:
  static std::ptrdiff_t lines(const char* file) {
    const std::string text = read_file(file);
    return std::count(text.begin(), text.end(), '\n');
  }
  std::string mark_, secret_, mounts_;
  std::ptrdiff_t shared_ = 0;
  int tcp_ = -1, local_ = -1, port_ = 0;
  pid_t victim_ = -1;
};

// For the square of 5. It counts as far as the output says, so that an output can make it late.
constexpr const char* kChecker =
    "import sys\n"
    "n = int(open(sys.argv[1]).read())\n"
    "try: x = int(open(sys.argv[2]).read())\n"
    "except ValueError: sys.exit(1)\n"
    "count = 0\n"
    "for i in range(x): count += 1\n"
    "sys.exit(0 if count == n * n else 1)\n";

// how: "stdin", "call", "asserts" or "checker", and perhaps a language.
Submission submission(const std::string& program, const std::string& how) {
  Submission s;
  s.program = program;
  TestCase t;
  const std::size_t space = how.find(' ');
  const std::string mode = how.substr(0, space);
  if (space != std::string::npos) s.language = how.substr(space + 1);
  if (mode == "checker") {
    s.checker.program = kChecker;
    s.checker.limits = {4000, 1000, 96, 16, 8, 64};
  }
  if (mode == "call") {
    t.call = "solve(5)";
    t.expected = "25";
  } else if (mode == "asserts") {
    t.asserts = "def check(candidate):\n    assert candidate(5) == 25, 'EXPECTED-OUTPUT'\n    assert candidate(5) == 25\n";
    t.entry_point = "solve";
  } else {
    t.input = "5\n";
    t.output = "25\n";
  }
  s.tests = {t};
  s.limits = {2000, 1000, 96, 16, 8, 64};
  return s;
}

bool full() { return std::getenv("R1_TEST_FULL") != nullptr; }

// Calls work(i) for i in [0, n) on so many threads.
template <class Work>
void spread(std::size_t n, unsigned threads, const Work& work) {
  std::atomic<std::size_t> next = 0;
  std::vector<std::jthread> all;
  for (unsigned t = 0; t < threads; ++t)
    all.emplace_back([&] {
      for (std::size_t i; (i = next++) < n;) work(i);
    });
}

std::ptrdiff_t open_descriptors() {
  return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
}

TEST_CASE("no attack is accepted, each gets its verdict, and the machine is as before") {
  if (test::absent()) return;
  std::vector<Entry> corpus = read_corpus("hostile_corpus.txt");
  CHECK(corpus.size() >= 60);
  std::erase_if(corpus, [](const Entry& e) {
    const bool none = !find_language(submission("", e.third).language)->installed();
    if (none) MESSAGE("skipped: ", e.name, ", no toolchain");
    return none;
  });
  std::map<std::string, int> built;  // compilers take their time: by default one program of each language
  if (!full())
    std::erase_if(corpus, [&](const Entry& e) { return e.third.find(' ') != std::string::npos && built[e.third]++ > 0; });
  const Surroundings around;
  const std::size_t rounds = full() ? 5 : 1;
  std::vector<Judgement> got(corpus.size() * rounds);
  spread(got.size(), full() ? 8 : 4, [&](std::size_t i) {
    const Entry& e = corpus[i % corpus.size()];
    got[i] = judge(submission(around.program(e), e.third));
  });
  for (std::size_t i = 0; i < got.size(); ++i) {
    const Entry& e = corpus[i % corpus.size()];
    const std::string verdict = to_string(got[i].verdict);
    std::stringstream allowed(e.second);
    const std::set<std::string> verdicts{std::istream_iterator<std::string>(allowed), {}};
    CAPTURE(e.name);
    CAPTURE(got[i].reason);
    CAPTURE(verdict);
    CHECK(got[i].verdict != CodeVerdict::kAccepted);
    CHECK(verdicts.count(verdict) == 1);
    CHECK(got[i].wall_ms < 2000 + 20'000);
  }
  around.check();
}

TEST_CASE("the same as an ordinary user") {
  if (test::absent()) return;
  if (!full()) return;
  if (geteuid() != 0) return;  // then this run is it
  if (access(R1_SOURCE_DIR "/rewards/code/hostile_corpus.txt", R_OK) != 0) return;
  const pid_t pid = fork();
  if (pid == 0) {
    const bool changed = setgroups(0, nullptr) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0;
    if (!changed || chdir("/") != 0) _exit(90);
    if (access("/proc/self/exe", X_OK) != 0 || access(R1_SOURCE_DIR "/rewards/code/hostile_corpus.txt", R_OK) != 0) _exit(91);
    execl("/proc/self/exe", "hostile", nullptr);
    _exit(91);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 91) {
    MESSAGE("skipped: an ordinary user cannot read this program or its corpus");
    return;
  }
  CHECK(WIFEXITED(status));
  CHECK((WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
}

bool present(const std::string& need) {
  std::stringstream words(need);
  for (std::string w; words >> w;) {
    if (w[0] == '/' && access(w.c_str(), X_OK) != 0) return false;
    if (w.rfind("import:", 0) == 0 && test::run_python("import " + w.substr(7), "", Limits{}).status != 0) return false;
  }
  return true;
}

TEST_CASE("honest programs are accepted while the machine is busy") {
  if (test::absent()) return;
  const std::vector<Entry> corpus = read_corpus("honest_corpus.txt");
  std::vector<const Entry*> here;
  std::set<std::string> languages;
  for (const Entry& e : corpus) {
    if (!full() && e.second != "python" && !languages.insert(e.second).second) continue;
    if (present(e.third)) here.push_back(&e);
    else MESSAGE("skipped: ", e.name, " needs ", e.third);
  }
  const std::size_t rounds = full() ? 20 : 1;
  std::atomic<bool> stop = false;
  std::vector<std::jthread> load;
  if (full())
    for (unsigned t = 0; t < std::max(2u, std::thread::hardware_concurrency()); ++t)
      load.emplace_back([&] {
        while (!stop) {
        }
      });
  std::vector<Judgement> got(here.size() * rounds);
  spread(got.size(), full() ? 4 : 2, [&](std::size_t i) {
    Submission s = submission(here[i % here.size()]->program, "stdin");
    s.language = here[i % here.size()]->second;
    s.limits = {60'000, 1000, 128, 24, 16, 64};
    if (s.language == "javascript" || s.language == "java") s.limits.memory_mb = 256;
    if (s.language == "java") s.limits.cpu_ms = 4000;  // the runtime alone takes up to one second on a busy machine
    got[i] = judge(s);
  });
  stop = true;
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(here[i % here.size()]->name);
    CAPTURE(got[i].reason);
    CAPTURE(got[i].cpu_ms);
    CHECK(std::string(to_string(got[i].verdict)) == "accepted");
  }
}

TEST_CASE("many runs in a row leave nothing behind") {
  if (test::absent()) return;
  std::string wrong;
  const auto run = [&wrong](int i) {
    Submission s = submission(i % 3 == 0   ? "import os, time\nif os.fork() == 0: time.sleep(60)\nopen('/w/tmp/x', 'w').write('x')\nprint(25)\n"
                              : i % 3 == 1 ? "print(int(input()) ** 2)\n"
                                           : "import sys\nsys.exit(3)\n",
                              "stdin");
    if (i % 50 == 7) {  // a program of another language, without the warm interpreter's part
      Job job;
      job.argv = {"/usr/bin/true"};
      job.warm = i % 100 == 7;
      const Outcome o = run_in_box(job);
      if (o.end != End::kExited || o.status != 0) wrong += message(i, ": end ", static_cast<int>(o.end), ", status ", o.status, ", ", o.detail, "\n");
      return o.end == End::kExited && o.status == 0;
    }
    const Judgement r = judge(s);
    const bool right = r.verdict == (i % 3 == 2 ? CodeVerdict::kRuntimeError : CodeVerdict::kAccepted);
    if (!right) wrong += message(i, ": ", to_string(r.verdict), ", ", r.reason, "\n");
    return right;
  };
  for (int i = 0; i < 12; ++i) CHECK(run(i));  // what is made once
  const auto children = [] {
    std::size_t n = 0;
    for (const auto& t : fs::directory_iterator("/proc/self/task")) {
      std::ifstream file(t.path() / "children");
      for (pid_t p; file >> p;) ++n;
    }
    return n;
  };
  const auto groups = [] {
    std::size_t n = 0;
    std::error_code none;
    for (fs::recursive_directory_iterator at("/sys/fs/cgroup", none), end; at != end; at.increment(none))
      n += at->path().filename().string().rfind("r1-box-" + std::to_string(getpid()) + "-", 0) == 0;
    return n;
  };
  const auto files = [] {
    std::size_t n = 0;
    std::error_code none;
    for (const char* dir : {"/tmp", "/var/tmp", "/dev/shm"})
      for (const auto& f : fs::directory_iterator(dir, none)) n += f.path().filename().string().rfind("r1-", 0) == 0;
    return n;
  };
  const auto nobody = [] {  // processes of the boxes' user whose root is not ours
    std::size_t n = 0;
    for (const auto& p : fs::directory_iterator("/proc")) {
      std::error_code none;
      const std::string ns = fs::read_symlink(p.path() / "ns/user", none).string();
      n += !none && std::isdigit(static_cast<unsigned char>(p.path().filename().string()[0])) &&
           ns != fs::read_symlink("/proc/self/ns/user", none).string() && read_file(p.path() / "comm") == "python3\n";
    }
    return n;
  };
  const auto fds = open_descriptors();
  const auto kids = children(), made_groups = groups(), made_files = files(), boxed = nobody();
  const std::string mounts = read_file("/proc/self/mounts");
  const int runs = full() ? 2000 : 60;
  int right = 0;
  for (int i = 0; i < runs; ++i) right += run(i);
  INFO(wrong);
  CHECK(right == runs);
  CHECK(open_descriptors() == fds);
  CHECK(children() == kids);
  CHECK(groups() == made_groups);
  CHECK(files() <= made_files + 8);  // other programs' files come and go here
  std::size_t still = nobody();  // other runs on this machine come and go
  for (int i = 0; i < 60 && still > boxed + 4; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    still = std::min(still, nobody());
  }
  CHECK(still <= boxed + 4);
  CHECK(read_file("/proc/self/mounts") == mounts);
}

}  // namespace
}  // namespace r1::code
