// Helpers for tests: folders that vanish, where optional data lies, skipping.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include <unistd.h>

namespace r1::test {

// Marks the whole binary as skipped (exit code 77) if nothing fails.
void skip(const char* why);

// A folder under the system's temporary folder, removed at the end of the scope.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "r1_test_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// The team's optional data folder (ctest label `data`): R1_SHARED_DIR, else ../shared beside the checkout; empty if absent.
inline std::filesystem::path shared_dir() {
  const char* set = std::getenv("R1_SHARED_DIR");
  const std::filesystem::path dir = set ? std::filesystem::path(set) : std::filesystem::path(R1_SOURCE_DIR) / ".." / "shared";
  return std::filesystem::exists(dir / "data") ? dir : std::filesystem::path();
}

}  // namespace r1::test
