// Added tokens: texts that become one id before anything else is looked at.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"
#include "text/pattern.h"

namespace r1 {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;  // only where no letter or digit touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = false;   // looked for in the normalized text
  bool special = false;      // left out by decode(skip_special)
};

// A stretch of the text: an added token (id >= 0) or text to tokenize.
struct Section {
  TextRange range;
  TokenId id = -1;
};

// Finds the tokens of a fixed set, leftmost first and the longest at each place, as daachorse's LeftmostLongest does in
// the Rust crate. Immutable; thread-safe.
class AddedTokenMatcher {
 public:
  // `pattern` is the text to look for: the content, or its normalized form.
  void add(const std::string& pattern, const AddedToken& token);
  bool empty() const { return tokens_.empty(); }
  // Appends the sections that cover `text`; an empty text has none.
  void split(std::string_view text, std::vector<Section>& out) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, std::uint32_t>> children;
    std::int32_t token = -1;  // index of the token that ends here
  };
  // Length of the longest token at text[pos], or 0.
  std::size_t longest(std::string_view text, std::size_t pos, std::int32_t& token) const;

  std::vector<Node> nodes_{Node{}};
  std::vector<AddedToken> tokens_;
  std::uint32_t first_[256] = {};  // child of the root, 0 = none
};

}  // namespace r1
