// LaTeX and plain text to a tree, by recursive descent with limits on depth, nodes and bytes: linear time, no throw.
#pragma once

#include <string_view>

#include "rewards/math/tree.h"

namespace r1::math {

inline constexpr int kMaxDepth = 60;
inline constexpr std::size_t kMaxNodes = 1000;

struct Parsed {
  Tree tree;
  std::string_view why;  // empty: read. "syntax", "word", "character", or a limit: "too_long", "too_deep", "too_many"
  bool ok() const { return why.empty(); }
  bool over_limit() const { return why.starts_with("too_"); }
};

// `text` is clean_answer(plain_forms(...)). Conventions: 1/2x is (1/2)x; -x^2 is -(x^2); \sin 2x is sin(2x); \sin(x)^2
// is (sin x)^2; \log is natural unless it has a base; e and i are the constants; 2\frac{1}{3} is a mixed number, as
// is 2 1/3; x_1 is one name; 101_2 keeps its base.
Parsed parse(std::string_view text);

}  // namespace r1::math
