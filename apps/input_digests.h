// Content digests of the files that stages read, remembered by size and time of change so that a large model is read once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace r1 {

class InputDigests {
 public:
  // `file`: where they are remembered; it need not exist. A damaged one is as none.
  explicit InputDigests(std::filesystem::path file);
  // Of a file, of a folder with all below it, of the files a pattern (*, ?) may match, or of a model or data set (hf://) by its hub name. "" = not there.
  std::string of(const std::string& name);
  void save() const;  // its folder must exist

 private:
  struct Known { std::uintmax_t bytes = 0; std::int64_t changed = 0; std::string digest; };
  std::string of_file(const std::filesystem::path& path);
  std::filesystem::path file_;
  std::map<std::string, Known> known_;
};

}  // namespace r1
