// LaTeX and plain text to a tree, by recursive descent with limits on depth, nodes and bytes: linear time, no throw.
#pragma once

#include <string_view>

#include "rewards/answer_text.h"
#include "rewards/math/tree.h"

namespace r1::math {

inline constexpr int kMaxDepth = 60;
inline constexpr std::size_t kMaxNodes = 1000;

struct Parsed {
  Tree tree;
  std::string_view why;  // empty: read. "syntax", "word", "character", or a limit: "too_long", "too_deep", "too_many"
  bool number = false;   // a single number with or without a unit, as parse_number() reads it
  bool ok() const { return why.empty(); }
  bool over_limit() const { return why.starts_with("too_"); }
};

// Conventions: 1/2x is (1/2)x; -x^2 is -(x^2); \sin 2x is sin(2x); \sin(x)^2 is (sin x)^2; \log is natural unless it has
// a base; e and i are the constants; 2\frac{1}{3} is a mixed number, as is 2 1/3; x_1 is one name; 101_2 keeps its
// base; letters that stood upright are units and words, others factors: 5\text{ m} has a unit, 5x none.
Parsed parse(const CleanAnswer& answer);

}  // namespace r1::math
