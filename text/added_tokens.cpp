#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace r1 {

void AddedTokenMatcher::add(const std::string& pattern, const AddedToken& token) {
  if (pattern.empty()) return;
  std::uint32_t node = 0;
  for (char c : pattern) {
    const auto byte = static_cast<unsigned char>(c);
    auto& children = nodes_[node].children;
    const auto it = std::find_if(children.begin(), children.end(), [&](const auto& e) { return e.first == byte; });
    if (it != children.end()) {
      node = it->second;
      continue;
    }
    const auto made = static_cast<std::uint32_t>(nodes_.size());
    children.emplace_back(byte, made);
    if (node == 0) first_[byte] = made;
    nodes_.emplace_back();
    node = made;
  }
  if (nodes_[node].token >= 0) return;
  nodes_[node].token = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(token);
}

std::size_t AddedTokenMatcher::longest(std::string_view text, std::size_t pos, std::int32_t& token) const {
  std::size_t best = 0, length = 1;
  for (std::uint32_t node = first_[static_cast<unsigned char>(text[pos])]; node != 0; ++length) {
    if (nodes_[node].token >= 0) best = length, token = nodes_[node].token;
    if (pos + length >= text.size()) break;
    const auto byte = static_cast<unsigned char>(text[pos + length]);
    std::uint32_t next = 0;
    for (const auto& [key, child] : nodes_[node].children) {
      if (key == byte) next = child;
    }
    node = next;
  }
  return best;
}

void AddedTokenMatcher::split(std::string_view text, std::vector<Section>& out) const {
  const auto& tables = unicode::Tables::get();
  std::size_t done = 0;
  for (std::size_t pos = 0; pos < text.size() && !tokens_.empty();) {
    std::int32_t index = -1;
    const std::size_t length = first_[static_cast<unsigned char>(text[pos])] ? longest(text, pos, index) : 0;
    if (length == 0) {
      ++pos;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    std::size_t start = pos, stop = pos + length;
    pos = stop;  // the search goes on behind the match, whatever is stripped or refused below
    if (token.single_word) {
      std::size_t before = start > 0 ? unicode::previous_start(text, start) : 0, after = stop;
      const bool word_before = start > 0 && (tables.classes(unicode::next_char(text, before)) & unicode::kWord);
      const bool word_after = stop < text.size() && (tables.classes(unicode::next_char(text, after)) & unicode::kWord);
      if (word_before || word_after) continue;
    }
    if (token.lstrip) start = std::max(unicode::trim_right(text.substr(0, start)), done);
    if (token.rstrip) stop += unicode::trim_left(text.substr(stop));
    if (done < start) out.push_back({{done, start}, -1});
    out.push_back({{start, stop}, token.id});
    done = stop;
  }
  if (done != text.size()) out.push_back({{done, text.size()}, -1});
}

}  // namespace r1
