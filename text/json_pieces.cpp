#include "text/json_pieces.h"

#include <algorithm>

#include "core/error.h"

namespace r1 {

JsonPieces::JsonPieces(const std::string& path) : path_(path), stream_(path) {
  while (buffer_.size() < 3 && more()) {}
  if (buffer_.starts_with("\xEF\xBB\xBF")) at_ = 3;
  const std::size_t begin = at_;
  skip_space();
  array_ = at_ < buffer_.size() && buffer_[at_] == '[';
  if (array_) {
    ++at_;
  } else {  // lines are counted from the file's first
    at_ = begin;
    line_ = 1;
  }
}

bool JsonPieces::more() { return stream_.read(buffer_); }

void JsonPieces::fail(const char* what) const { throw DataError(message(path_, ":", line_, ": bad JSON: ", what)); }

// In an array what lies behind is forgotten; before it is known to be one, nothing is.
void JsonPieces::skip_space() {
  for (;; ++at_) {
    if (at_ == buffer_.size()) {
      if (array_) buffer_.clear(), at_ = 0;
      if (!more()) return;
    }
    const char c = buffer_[at_];
    if (c == '\n') ++line_;
    else if (c != ' ' && c != '\t' && c != '\r') return;
  }
}

bool JsonPieces::next(Piece& piece) {
  constexpr std::size_t kForget = 1 << 16;
  if (at_ > kForget) buffer_.erase(0, at_), at_ = 0;
  return array_ ? next_element(piece) : next_line(piece);
}

bool JsonPieces::next_line(Piece& piece) {
  for (;;) {
    std::size_t from = at_, end = 0;
    while ((end = buffer_.find('\n', from)) == std::string::npos) {
      from = buffer_.size();
      if (!more()) break;
    }
    const bool last = end == std::string::npos;
    if (last) end = buffer_.size();
    piece.text = std::string_view(buffer_).substr(at_, end - at_);
    piece.line = piece.number = line_;
    at_ = last ? end : end + 1;
    ++line_;
    if (piece.text.find_first_not_of(" \t\r") != std::string_view::npos) return true;
    if (last) return false;
    if (at_ > (1 << 20)) buffer_.erase(0, at_), at_ = 0;
  }
}

bool JsonPieces::next_element(Piece& piece) {
  if (ended_) return false;
  skip_space();
  if (at_ == buffer_.size()) fail("the array does not end");
  const auto end_of_array = [&] {
    ++at_;
    ended_ = true;
    skip_space();
    if (at_ < buffer_.size()) fail("text follows the array");
    return false;
  };
  if (buffer_[at_] == ']' && (elements_ == 0 || last_)) return end_of_array();
  piece.line = line_;
  buffer_.erase(0, at_);
  at_ = 0;
  std::size_t i = 0;
  int depth = 0;
  bool text = false, escaped = false;
  for (;; ++i) {
    if (i == buffer_.size() && !more()) fail("the array does not end");
    const char c = buffer_[i];
    if (c == '\n') ++line_;
    if (text) {
      if (escaped) escaped = false;
      else if (c == '\\') escaped = true;
      else if (c == '"') text = false;
    } else if (c == '"') {
      text = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (depth == 0 && (c == ',' || c == ']')) {
      break;
    } else if (c == '}' || c == ']') {
      depth = std::max(depth - 1, 0);
    }
  }
  piece.text = std::string_view(buffer_).substr(0, i);
  piece.number = ++elements_;
  at_ = i;
  last_ = buffer_[i] == ']';
  if (!last_) ++at_;
  return true;
}

}  // namespace r1
