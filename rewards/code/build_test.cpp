// Builds: the cache, the precompiled header, Java's names, what the toolchains say of themselves.
#include "rewards/code/build.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

#include "core/error.h"
#include "rewards/code/build_cache.h"
#include "rewards/code/java_source.h"
#include "rewards/code/judge_test_support.h"

namespace r1::code {
namespace {

namespace fs = std::filesystem;
using test::absent;

BuildCache::Bytes bytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

bool full() { return std::getenv("R1_TEST_FULL") != nullptr; }

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST_CASE("the cache gives back what was stored under the same key, and nothing else") {
  const r1::test::TempDir dir;
  const fs::path folder = dir / "cache";
  BuildCache first({folder}), second({folder});
  CHECK(first.find("a") == nullptr);
  first.store("a", bytes("program"));
  REQUIRE(second.find("a"));  // another process of the same folder
  CHECK(*second.find("a") == "program");
  CHECK(second.find("b") == nullptr);
  CHECK((fs::status(folder).permissions() & fs::perms::all) == fs::perms::owner_all);

  // A damaged file, a cut one and one under another key's name are not programs.
  const fs::path file = fs::directory_iterator(folder)->path();
  const std::string whole = [&] { std::ifstream in(file, std::ios::binary); return std::string(std::istreambuf_iterator<char>(in), {}); }();
  for (std::string bad : {whole.substr(0, whole.size() - 1), whole.substr(0, 10), std::string(), whole.substr(0, whole.size() - 1) + "X"}) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bad;
    CHECK(BuildCache({folder}).find("a") == nullptr);
    CHECK(files_in(folder) == 0);
  }
  first.store("b", bytes("other"));
  fs::rename(fs::directory_iterator(folder)->path(), file);  // the name of "a" with the key "b" in it
  CHECK(BuildCache({folder}).find("a") == nullptr);
}

TEST_CASE("the cache stays below its limits, the latest used kept") {
  const r1::test::TempDir dir;
  BuildCache cache({dir / "cache", 1, 1});
  const auto name = [](int i) { return "key " + std::to_string(i); };
  for (int i = 0; i < 40; ++i) {
    cache.store(name(i), bytes(std::string(100'000, static_cast<char>('a' + i % 26))));
    CHECK(cache.find(name(0)) != nullptr);  // used all the time
    std::uintmax_t sum = 0;
    for (const auto& f : fs::directory_iterator(dir / "cache")) sum += f.file_size();
    CHECK(sum <= 1u << 20);
  }
  CHECK(cache.find(name(39)) != nullptr);
  CHECK(cache.find(name(20)) == nullptr);
  cache.store("large", bytes(std::string(2 << 20, 'x')));
  CHECK(cache.find("large") == nullptr);
}

TEST_CASE("many users of one cache folder at the same time read whole programs") {
  const r1::test::TempDir dir;
  std::atomic<int> wrong = 0, found = 0;
  {
    std::vector<std::jthread> all;
    for (int t = 0; t < 4; ++t)
      all.emplace_back([&, t] {
        for (int i = 0; i < 40; ++i) {
          BuildCache cache({dir / "cache", 1, 1});
          const std::string key = std::to_string((i * 7 + t) % 9);
          const std::string body(120'000, static_cast<char>('0' + key[0] % 10));
          if (const auto b = cache.find(key)) {
            ++found;
            wrong += *b != body;
          } else {
            cache.store(key, bytes(body));
          }
        }
      });
  }
  CHECK(wrong == 0);
  CHECK(found > 0);
}

TEST_CASE("a cache folder that others can write to is refused") {
  const r1::test::TempDir dir;
  fs::create_directory(dir / "open");
  chmod((dir / "open").c_str(), 0777);
  CHECK_THROWS_WITH_AS((void)BuildCache({dir / "open"}), doctest::Contains("chmod 700"), Error);
  std::ofstream(dir / "file") << "x";
  CHECK_THROWS_AS((void)BuildCache({dir / "file"}), Error);
  fs::create_symlink(dir / "open", dir / "link");
  CHECK_THROWS_AS((void)BuildCache({dir / "link"}), Error);
}

TEST_CASE("a program is built once for all its tests, and once for all its submissions") {
  if (absent("c")) return;
  const r1::test::TempDir dir;
  set_build_cache({dir / "cache"});
  const Language& c = *find_language("c");
  const std::string program = "#include <stdio.h>\nint main(void) { puts(\"one\"); return 0; }\n";
  const Built made = build_program(c, program);
  REQUIRE_MESSAGE(made.kind == Built::kMade, made.reason);
  CHECK(!made.from_cache);
  CHECK(build_program(c, program).from_cache);
  set_build_cache({dir / "cache"});  // as another process: from disk
  const Built again = build_program(c, program);
  CHECK(again.from_cache);
  CHECK(*again.bytes == *made.bytes);
  CHECK(!build_program(c, program + "\n").from_cache);
  CHECK(!build_program(c, program, {{"x.h", ""}}).from_cache);
  CHECK(build_program(c, "int main(void) { return x; }").kind == Built::kRefused);
  CHECK(build_program(c, "int main(void) { return x; }").kind == Built::kRefused);
  // One build, three tests: the submission's file was made before, so nothing is added to the folder.
  const std::size_t before = files_in(dir / "cache");
  Submission s;
  s.language = "c";
  s.program = program;
  s.tests = {{"", "one\n"}, {"", "one\n"}, {"", "two\n"}};
  CHECK(judge(s).passed == 2);
  CHECK(files_in(dir / "cache") == before);
  set_build_cache({});
}

TEST_CASE("the precompiled header is used where it means the same") {
  CHECK(begins_with_all_headers("#include <bits/stdc++.h>\nint x;"));
  CHECK(begins_with_all_headers("// a\n/* b\n */ # include\t<bits/stdc++.h>"));
  CHECK(!begins_with_all_headers("#define _GLIBCXX_DEBUG\n#include <bits/stdc++.h>"));
  CHECK(!begins_with_all_headers("#pragma GCC optimize(\"O3\")\n#include <bits/stdc++.h>"));
  CHECK(!begins_with_all_headers("#include <iostream>\n#include <bits/stdc++.h>"));
  CHECK(!begins_with_all_headers("/* #include <bits/stdc++.h>"));
  CHECK(!begins_with_all_headers("//"));
  CHECK(!begins_with_all_headers(""));
  if (!full() || absent("cpp")) return;  // seconds
  set_build_cache({});
  const std::string body = "#include <bits/stdc++.h>\nusing namespace std;\nint main() { map<string, int> m; m[\"a\"] = 3; cout << m[\"a\"]; }\n";
  const Language& cpp = *find_language("cpp");
  const Built with = build_program(cpp, body);                  // makes the header, then uses it
  const Built without = build_program(cpp, "#undef x\n" + body);  // does not
  REQUIRE_MESSAGE(with.kind == Built::kMade, with.reason);
  REQUIRE_MESSAGE(without.kind == Built::kMade, without.reason);
  CHECK(*with.bytes == *without.bytes);  // the very same program
}

TEST_CASE("Java programs are named as they name themselves") {
  const auto names = [](const char* source) {
    const JavaClasses c = java_classes(source);
    return c.file + " " + c.main;
  };
  CHECK(names("public class Sum { public static void main(String[] a) {} }") == "Sum Sum");
  CHECK(names("class Helper {} class Go { static int f(int x) { return x; } public static void main(String[] a) {} }") == "Go Go");
  CHECK(names("// public class No {\n/* class B { static void main( */ class A { String s = \"class C {\"; char c = '\\''; }") == "A A");
  CHECK(names("package a.b;\nimport x.y;\npublic final class P { }\nclass Q { public static void main(String... a) {} }") == "P a.b.Q");
  CHECK(names("interface I { class X { static void main(String[] a) {} } } class M { static void main(String[] a) {} }") == "M M");
  CHECK(names("public record R(int x) { public static void main(String[] a) { } }") == "R R");
  CHECK(names("") == "Main Main");
  CHECK(names("class") == "Main Main");
  CHECK(names("class A { String s = \"\"\"\n class B { \" } \"\"\"; static void main(String[] a) {} }") == "A A");
}

TEST_CASE("each toolchain is reported with its version, or as missing") {
  if (!host_guarantees().namespaces) return;
  const std::vector<Toolchain> all = toolchains();
  CHECK(all.size() == languages().size());
  for (const Toolchain& t : all) {
    MESSAGE(t.language, ": ", t.path.empty() ? "not installed" : t.path + ", " + t.version);
    CHECK(t.path.empty() == t.version.empty());
    if (!t.path.empty()) CHECK(t.version.find_first_of("0123456789") != std::string::npos);
    CHECK(t.version.find("does not run") == std::string::npos);
  }
}

TEST_CASE("runtimes that reserve much address space run, and what they really use is limited") {
  const std::pair<const char*, const char*> greedy[] = {
      {"java", "import java.util.*;\nclass A { public static void main(String[] x) { List<byte[]> l = new ArrayList<>(); while (true) l.add(new byte[1 << 20]); } }"},
      {"go", "package main\nfunc main() { x := [][]byte{}; for { b := make([]byte, 1 << 20); for i := range b { b[i] = 1 }; x = append(x, b) } }"},
      {"javascript", "const x = []; while (true) x.push(new Array(1 << 17).fill(1.5));"},
      {"rust", "fn main() { let mut x: Vec<Vec<u8>> = vec![]; loop { x.push(vec![1; 1 << 20]); } }"}};
  for (const auto& [language, program] : greedy) {
    CAPTURE(language);
    if ((!full() && std::string_view(language) != "javascript") || absent(language)) continue;
    Submission s;
    s.language = language;
    s.program = program;
    s.tests = {{"", "1"}};
    s.limits = {20'000, 10'000, 160, 8, 16, 64};
    const Judgement j = judge(s);
    CAPTURE(j.reason);
    CHECK(std::string(to_string(j.verdict)) == "memory_limit");
    CHECK(j.memory_kb < 400'000);
  }
}

}  // namespace
}  // namespace r1::code
