// A set of code points as sorted, disjoint ranges: the character classes of a translated pattern.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "text/unicode_tables.h"

namespace r1 {

class CodeSet {
 public:
  using Range = unicode_tables::Range;
  CodeSet() = default;
  explicit CodeSet(std::vector<Range> ranges);  // any order, may overlap
  // All code points (surrogates left out) for which the function holds.
  static CodeSet where(const std::function<bool(char32_t)>& holds);
  // \p{name}: a general category, its one-letter group, or one of the scripts in the tables; throws DataError.
  static CodeSet property(std::string name);
  static CodeSet white_space();
  static CodeSet word();  // Oniguruma's \w

  void add(const CodeSet& other);
  CodeSet complement() const;
  CodeSet intersect(const CodeSet& other) const;
  bool empty() const { return ranges_.empty(); }
  std::size_t count() const;  // of code points
  // A PCRE2 class with exactly these members: categories as PCRE2 has them, plus and minus single ranges; a short set,
  // or one for caseless matching, as ranges alone ("[\x{61}-\x{7a}]").
  std::string to_pcre2(bool caseless) const;

 private:
  void normalize();
  std::string ranges_text() const;
  std::vector<Range> ranges_;
};

}  // namespace r1
