// Keeps text of evaluation sets out of training data: texts that share an n-gram with an evaluation item are named.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "text/dataset.h"

namespace r1 {

struct DecontaminateOptions {
  int ngram = 10;        // words: runs of letters and digits, whatever their case and what stands between them
  int characters = 16;   // where Han, kana, Thai and the like are written without spaces: each of their characters is a unit, and
                         // so many units with at least one of them make a gram
};

// Not thread-safe while items are added; then it is.
class Decontaminator {
 public:
  struct Hit {
    std::string source, gram;  // the evaluation set; the text that both have
  };
  // Throws ConfigError for options out of range.
  explicit Decontaminator(const DecontaminateOptions& options);
  // Questions and answers of all rows. Throws DataError.
  void add_file(const std::string& path);
  // An item. Where it is shorter than a gram, it meets a question that is the same.
  void add(const std::string& source, std::string_view text);
  // `question` is compared as a whole with short items too; `text` (the completion) by grams alone.
  std::optional<Hit> find(std::string_view question, std::string_view text) const;
  std::size_t items() const { return items_; }

 private:
  struct Unit {
    std::uint64_t hash = 0;
    std::size_t begin = 0, end = 0;
    bool unspaced = false;
  };
  static std::vector<Unit> units_of(std::string_view text);
  template <class F>
  void each_gram(const std::vector<Unit>& units, F&& use) const;
  static std::uint64_t whole(const std::vector<Unit>& units);
  std::optional<Hit> find_gram(std::string_view text, const std::vector<Unit>& units) const;

  DecontaminateOptions options_;
  std::vector<std::string> sources_;
  std::unordered_map<std::uint64_t, std::uint32_t> grams_, short_items_;  // hash -> the first source that has it
  std::size_t items_ = 0;
};

}  // namespace r1
