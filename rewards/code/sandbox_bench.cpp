#include "rewards/code/sandbox_bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>
#include <vector>

#include "core/error.h"
#include "rewards/code/box.h"
#include "rewards/code/build.h"
#include "rewards/code/isolation.h"

namespace r1::code {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
constexpr double kOverheadAim = 1.5, kWarmAim = 3.0;  // ms
constexpr const char* kProgram = "import sys\nprint(sum(map(int, sys.stdin.read().split())))\n";
constexpr const char* kNumbers = "1 2 3\n";

double ms_since(Clock::time_point begin) { return std::chrono::duration<double, std::milli>(Clock::now() - begin).count(); }

double at(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values.size())))];
}

// A program with its input and output, and nothing around it. False if it failed.
bool spawn(const std::vector<std::string>& words, const std::string& input) {
  std::vector<char*> argv;
  for (const std::string& w : words) argv.push_back(const_cast<char*>(w.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, input.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, argv[0], &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  int status = 1;
  while (error == 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return error == 0 && status == 0;
}

Job job(bool python, bool warm) {
  Job j;
  j.argv = {"/usr/bin/true"};
  j.warm = warm;
  if (python) {
    j.argv = {"/usr/bin/python3", "-I", "main.py"};
    j.files = {{"main.py", kProgram}};
    j.input = kNumbers;
  }
  return j;
}

bool boxed(const Job& j) {
  const Outcome o = run_in_box(j);
  if (o.end == End::kExited && o.status == 0) return true;
  std::fprintf(stderr, "a box ended by %d, %d: %s %s\n", static_cast<int>(o.end), o.status, o.detail.c_str(), o.errors.c_str());
  return false;
}

struct Case {
  std::string name;
  std::function<bool()> run;
  std::vector<double> ms = {};
};

// Files for the programs that run outside boxes; gone at the end.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "r1-sandbox-XXXXXX").string();
    if (!mkdtemp(name.data())) throw Error(message("cannot make a folder in ", name, ": ", std::strerror(errno)));
    path = name;
    std::ofstream(path / "main.py") << kProgram;
    std::ofstream(path / "in.txt") << kNumbers;
    // The cheapest there is, and no isolation: exec() in a running interpreter. Prints ms for each run.
    std::ofstream(path / "exec.py") << "import io, sys, time\nsource = " << Json(kProgram).dump() << "\n"
                                    << "for i in range(int(sys.argv[1])):\n"
                                       "    begin = time.perf_counter()\n"
                                       "    sys.stdin, out, sys.stdout = io.StringIO('1 2 3\\n'), sys.stdout, io.StringIO()\n"
                                       "    exec(compile(source, 'main.py', 'exec'), {})\n"
                                       "    sys.stdout = out\n"
                                       "    print((time.perf_counter() - begin) * 1000)\n";
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

std::vector<double> exec_in_process(const Folder& folder, int runs) {
  const std::string command = "/usr/bin/python3 -I '" + (folder.path / "exec.py").string() + "' " + std::to_string(runs);
  FILE* pipe = popen(command.c_str(), "re");
  std::vector<double> ms;
  for (double v; pipe && std::fscanf(pipe, "%lf", &v) == 1;) ms.push_back(v);
  if (pipe) pclose(pipe);
  return ms;
}

// Runs/s of warm Python tests with one thread for each core.
double parallel_rate(int runs) {
  const unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  const Job j = job(true, true);
  std::atomic<int> left = runs;
  const Clock::time_point begin = Clock::now();
  {
    std::vector<std::jthread> all;
    for (unsigned t = 0; t < threads; ++t)
      all.emplace_back([&] {
        while (left-- > 0) (void)boxed(j);
      });
  }
  return runs * 1000.0 / ms_since(begin);
}

// ms to build a program of 1 to 3 lines in each compiled language, made anew and out of the cache; C++ without and with
// the precompiled header. Median of `runs` programs that differ in a comment.
Json measure_builds(int runs) {
  struct Sample {
    const char *name, *language, *program;
  };
  constexpr const char* kHeaders = "#include <bits/stdc++.h>\nint main() { std::map<int, int> m; int x; std::cin >> x; std::cout << ++m[x]; }\n";
  const std::string slow = std::string("#define A\n") + kHeaders;  // the same, but not so that the header could be used
  const Sample samples[] = {{"c", "c", "#include <stdio.h>\nint main(void) { puts(\"1\"); return 0; }\n"},
                            {"cpp, all headers, as they are", "cpp", slow.c_str()},
                            {"cpp, all headers, precompiled", "cpp", kHeaders},
                            {"java", "java", "class A { public static void main(String[] a) { System.out.println(1); } }\n"},
                            {"go", "go", "package main\nimport \"fmt\"\nfunc main() { fmt.Println(1) }\n"},
                            {"rust", "rust", "fn main() { println!(\"1\"); }\n"}};
  Json all = Json::array();
  for (const Sample& s : samples) {
    const Language& language = *find_language(s.language);
    if (!language.installed()) continue;
    (void)build_program(language, std::string(s.program) + "// warm up\n");
    std::vector<double> made, found;
    for (int i = 0; i < 2 * runs; ++i) {
      const std::string program = std::string(s.program) + "// " + std::to_string(i % runs) + "\n";
      const Clock::time_point begin = Clock::now();
      const Built built = build_program(language, program);
      (built.from_cache ? found : made).push_back(ms_since(begin));
      if (built.kind != Built::kMade) throw Error(message("the sandbox benchmark: '", s.name, "' does not build: ", built.reason));
    }
    all.push_back({{"name", s.name}, {"ms_median", at(made, 0.5)}, {"ms_cached", found.empty() ? -1.0 : at(found, 0.5)}});
  }
  return all;
}

}  // namespace

std::string measure_sandbox(int runs) {
  if (runs < 3) throw Error(message("the sandbox benchmark needs at least 3 runs, not ", runs));
  require_isolation();
  const Folder folder;
  const std::string main = (folder.path / "main.py").string(), in = (folder.path / "in.txt").string();
  const bool python = access("/usr/bin/python3", X_OK) == 0, warm = host_guarantees().cold.empty();
  Json result = Json::object(), absent = Json::array();

  std::vector<Case> cases = {{"spawn", [&] { return spawn({"/usr/bin/true"}, in); }},
                             {"box", [] { return boxed(job(false, true)); }}};
  if (python) {
    cases.push_back({"python spawn", [&] { return spawn({"/usr/bin/python3", "-I", main}, in); }});
    cases.push_back({"python box", [] { return boxed(job(true, false)); }});
    if (warm) cases.push_back({"python box warm", [] { return boxed(job(true, true)); }});
    else absent.push_back("warm interpreter: " + host_guarantees().cold);
  } else {
    absent.push_back("/usr/bin/python3");
  }
  const auto peer = [&](const std::string& name, std::vector<std::string> words) {
    if (access(words[0].c_str(), X_OK) != 0) return absent.push_back(words[0] + ": not installed");
    const auto with = [words](std::initializer_list<std::string> more) {
      std::vector<std::string> all = words;
      all.insert(all.end(), more);
      return all;
    };
    if (!spawn(with({"/usr/bin/true"}), in)) return absent.push_back(words[0] + ": does not run on this host");
    cases.push_back({name, [=] { return spawn(with({"/usr/bin/true"}), in); }});
    if (python) cases.push_back({"python " + name, [=] { return spawn(with({"/usr/bin/python3", "-I", main}), in); }});
  };
  peer("bubblewrap", {"/usr/bin/bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib",
                      "/lib", "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dev",
                      "/dev", "--tmpfs", "/tmp", "--ro-bind", folder.path.string(), folder.path.string()});
  peer("firejail", {"/usr/bin/firejail", "--quiet", "--noprofile", "--net=none", "--seccomp", "--caps.drop=all"});

  for (Case& c : cases)
    if (!c.run()) throw Error(message("the sandbox benchmark: '", c.name, "' failed"));
  for (int i = 0; i < runs; ++i)  // taking turns: whatever else this machine does meets all of them
    for (Case& c : cases) {
      const Clock::time_point begin = Clock::now();
      const bool ok = c.run();
      c.ms.push_back(ms_since(begin));
      if (!ok) throw Error(message("the sandbox benchmark: '", c.name, "' failed"));
    }
  if (python) {
    cases.push_back({"python exec in process (no isolation)", {}, exec_in_process(folder, runs)});
    if (cases.back().ms.empty()) cases.pop_back(), absent.push_back("exec in process: the interpreter failed");
  }

  const auto median = [&](const std::string& name) {
    const auto c = std::find_if(cases.begin(), cases.end(), [&](const Case& x) { return x.name == name; });
    return c == cases.end() ? -1.0 : at(c->ms, 0.5);
  };
  result["runs"] = runs;
  result["cases"] = Json::array();
  for (const Case& c : cases) {
    const double mean = std::accumulate(c.ms.begin(), c.ms.end(), 0.0) / static_cast<double>(c.ms.size());
    result["cases"].push_back({{"name", c.name},
                               {"ms_median", at(c.ms, 0.5)},
                               {"ms_mean", mean},
                               {"ms_p95", at(c.ms, 0.95)},
                               {"ms_p99_9", at(c.ms, 0.999)},
                               {"runs_per_s", 1000.0 / mean}});
  }
  result["overhead_ms"] = median("box") - median("spawn");
  result["overhead_aim_met"] = result["overhead_ms"].get<double>() < kOverheadAim;
  if (python && warm) {
    result["warm_python_ms"] = median("python box warm");
    result["warm_python_aim_met"] = median("python box warm") < kWarmAim;
    result["warm_python_runs_per_s_all_cores"] = parallel_rate(std::max(20, runs));
  }
  result["builds"] = measure_builds(std::min(runs, 5));
  result["absent"] = std::move(absent);
  result["guarantees"] = host_guarantees().lines();
  return result.dump();
}

}  // namespace r1::code
