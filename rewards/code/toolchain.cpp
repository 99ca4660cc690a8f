#include "rewards/code/toolchain.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>

#include "core/error.h"
#include "rewards/code/java_source.h"

namespace r1::code {
namespace {

// Archives of the standard library came with Go until 1.19: there two calls do what `go build` needs half a minute for,
// because it compiles that library first.
constexpr const char* kBuildGo =
    "if [ -f \"$(/usr/bin/go env GOROOT)/pkg/linux_$(/usr/bin/go env GOARCH)/fmt.a\" ]; then "
    "/usr/bin/go tool compile -p main -trimpath \"$PWD\" -o main.o {file} && /usr/bin/go tool link -s -w -o main main.o; "
    "else /usr/bin/go build -trimpath -ldflags='-s -w' -o main {file}; fi";
constexpr const char* kBuildJava =
    "mkdir classes && /usr/bin/javac -J-Xshare:auto -J-XX:+UseSerialGC -J-XX:TieredStopAtLevel=1 -J-XX:-UsePerfData "
    "-nowarn -proc:none -encoding UTF-8 -d classes '{file}' && "
    "/usr/bin/jar --create --file main --main-class '{class}' -C classes .";

}  // namespace

const std::vector<Language>& languages() {
  // Python in isolated mode: no user site, no PYTHON* variables. Node, Java and Go reserve far more address space than
  // they use, which is why the box limits resident memory and not address space. Runtimes with a collector are told to
  // collect before the limit, not at a share of the machine's memory.
  static const std::vector<Language> all = {
      {"python", {"py", "python3", "py3", "cpython"}, "main.py", {}, {"/usr/bin/python3", "-I", "main.py"}, "/usr/bin/python3",
       {}, 0, "MemoryError"},
      {"cpp", {"c++", "cc", "cxx", "cpp11", "cpp14", "cpp17", "cpp20", "c++11", "c++14", "c++17", "c++20", "g++"}, "main.cpp",
       {"/usr/bin/g++", "-std=gnu++20", "-O2", "-pipe", "-pthread", "-w", "-o", "main", "main.cpp"}, {"/w/box/main"},
       "/usr/bin/g++", {}, 0, "std::bad_alloc"},
      {"c", {"c11", "c17", "c99", "gcc"}, "main.c",
       {"/usr/bin/gcc", "-std=gnu17", "-O2", "-pipe", "-pthread", "-w", "-o", "main", "main.c", "-lm"}, {"/w/box/main"},
       "/usr/bin/gcc"},
      {"javascript", {"js", "node", "nodejs", "mjs"}, "main.js", {}, {"/usr/bin/node", "--max-old-space-size={heap_mb}", "main.js"},
       "/usr/bin/node", {}, 10, "JavaScript heap out of memory"},
      {"java", {"java8", "java11", "java17", "openjdk"}, "{class}.java", {"/bin/sh", "-c", kBuildJava},
       {"/usr/bin/java", "-Xshare:auto", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:ActiveProcessorCount=2", "-Xss64m",
        "-Xmx{heap_mb}m", "-jar", "main"},
       "/usr/bin/javac", {}, 16, "java.lang.OutOfMemoryError"},
      {"go", {"golang"}, "main.go", {"/bin/sh", "-c", kBuildGo}, {"/w/box/main"}, "/usr/bin/go", {"/usr/bin/go", "version"}, 10,
       "runtime: out of memory"},
      {"rust", {"rs"}, "main.rs",
       {"/usr/bin/rustc", "--edition=2021", "-O", "-Cstrip=symbols", "--cap-lints=allow", "-o", "main", "main.rs"}, {"/w/box/main"},
       "/usr/bin/rustc", {}, 0, "memory allocation of"},
  };
  return all;
}

bool Language::installed() const { return access(needs.c_str(), X_OK) == 0; }

std::string canonical_language(std::string_view name) {
  std::string low(name);
  for (char& c : low) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  for (const Language& l : languages())
    if (l.name == low || std::find(l.aliases.begin(), l.aliases.end(), low) != l.aliases.end()) return l.name;
  return {};
}

const Language* find_language(std::string_view name) {
  const std::string canonical = canonical_language(name);
  for (const Language& l : languages())
    if (l.name == canonical) return &l;
  return nullptr;
}

std::string file_name(const Language& language, const std::string& program) {
  return language.name == "java" ? java_classes(program).file + ".java" : language.file;
}

std::vector<std::string> command(const std::vector<std::string>& words, const Language& language, const std::string& program,
                                 const Limits& limits) {
  std::vector<std::string> filled = words;
  const auto fill = [&](const char* name, const std::string& by) {
    for (std::string& w : filled)
      for (std::size_t at; (at = w.find(name)) != std::string::npos;) w.replace(at, std::string_view(name).size(), by);
  };
  fill("{file}", file_name(language, program));
  if (language.name == "java") fill("{class}", java_classes(program).main);
  fill("{heap_mb}", std::to_string(std::max<std::int64_t>(8, limits.memory_mb * 3 / 4)));
  return filled;
}

std::vector<std::string> toolchain_folders(const Language& language) {
  if (language.name != "java") return {};
  // Debian keeps the settings of a JDK in /etc and links to them.
  static const std::vector<std::string> folders = [] {
    std::vector<std::string> found;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator("/etc", none))
      if (const std::string name = entry.path().filename().string();
          name.rfind("java-", 0) == 0 && name.find("-openjdk") != std::string::npos && entry.is_directory(none))
        found.push_back(entry.path().string());
    return found;
  }();
  return folders;
}

std::string toolchain_version(const Language& language) {
  static std::mutex lock;
  static std::map<std::string, std::string> known;
  const std::scoped_lock guard(lock);
  const auto it = known.find(language.name);
  if (it != known.end()) return it->second;
  if (!language.installed()) return {};  // may come later
  Job job;
  job.argv = language.version.empty() ? std::vector<std::string>{language.needs, "--version"} : language.version;
  job.folders = toolchain_folders(language);
  job.limits = {60'000, 30'000, 1024, 64, 64, 64};
  const Outcome o = run_in_box(job);
  if (o.end != End::kExited || o.status != 0) return message("(", job.argv[0], " does not run: ", o.detail, o.errors.substr(0, 200), ")");
  const std::string& text = o.output.empty() ? o.errors : o.output;
  return known[language.name] = text.substr(0, text.find('\n'));
}

std::vector<Toolchain> toolchains() {
  std::vector<Toolchain> all;
  for (const Language& l : languages())
    all.push_back({l.name, l.installed() ? l.needs : "", l.installed() ? toolchain_version(l) : ""});
  return all;
}

}  // namespace r1::code
