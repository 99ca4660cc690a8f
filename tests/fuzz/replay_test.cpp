// The kept corpus, cuts of it and a few hard inputs through the fuzz targets, under the ordinary compiler.
#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/files.h"
#include "tests/fuzz/targets.h"

namespace r1::fuzz {
namespace {

constexpr double kMostSeconds = 5;          // of any one input
constexpr std::size_t kMostBytes = 64 << 10;  // that promise is for inputs up to this size

void timed(const Target& target, const std::string& bytes, const std::string& what) {
  const auto begin = std::chrono::steady_clock::now();
  target.run(bytes);
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  CHECK_MESSAGE(took < kMostSeconds, target.name << ": " << what << " took " << took << " s");
}

std::map<std::string, std::string> corpus(const std::string& name) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(R1_SOURCE_DIR) + "/tests/fuzz/corpus/" + name))
    files[entry.path().filename().string()] = read_file(entry.path());
  return files;
}

TEST_CASE("fuzz corpus: every target keeps its promises on every kept input and on cuts of it") {
  for (const Target& target : kTargets) {
    const auto files = corpus(target.name);
    CHECK_MESSAGE(files.size() >= 10, "the corpus of " << target.name << " holds " << files.size() << " files");
    for (const auto& [name, bytes] : files) {
      timed(target, bytes, name);
      for (const std::size_t part : {4, 2}) timed(target, bytes.substr(0, bytes.size() / part), name + " cut");
      timed(target, bytes.substr(0, bytes.size() ? bytes.size() - 1 : 0), name + " less one byte");
    }
  }
}

TEST_CASE("fuzz corpus: repeated pieces up to 64 kB take no more than seconds") {
  const std::vector<std::string> pieces = {"{", "[", "(", "\\frac", "\\boxed{", "$", "`", "```\n", "<think>", "</think>", "<answer>",
                                           "\"", "\\", "-", "^", "_", "\\sqrt{", "1,", "|", "\n", "1 or ", "\xff", "中", "a_b ", "http://",
                                           "\\begin{pmatrix}", "&", "5^", "\\{", "the answer is ", "\\text{", "\\left(", "x=", "\\pm "};
  for (const Target& target : kTargets)
    for (const std::string& piece : pieces) {
      std::string bytes = std::string(target.name) == "math" ? "7\n" : std::string(1, '\0');
      while (bytes.size() + piece.size() <= kMostBytes) bytes += piece;
      timed(target, bytes, "'" + piece + "' repeated");
    }
}

}  // namespace
}  // namespace r1::fuzz
