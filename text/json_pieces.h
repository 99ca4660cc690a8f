// A file of JSON lines, or of one JSON array, cut into its values without reading them: one value in memory at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/data_files.h"

namespace r1 {

// Not thread-safe.
class JsonPieces {
 public:
  struct Piece {
    std::string_view text;    // valid until the next call; not checked: a broken value is the reader's to find
    std::int64_t line = 0;    // of its first character, from 1
    std::int64_t number = 0;  // JSON lines: the line; array: the element, from 1
  };
  explicit JsonPieces(const std::string& path);
  // False at the end. Blank lines are passed over. Throws DataError as DataStream does, and for an array that does not end
  // or is followed by something.
  bool next(Piece& piece);
  bool array() const { return array_; }

 private:
  bool more();  // reads on behind what is there
  bool next_line(Piece& piece);
  bool next_element(Piece& piece);
  void skip_space();
  [[noreturn]] void fail(const char* what) const;

  std::string path_, buffer_;
  DataStream stream_;
  std::size_t at_ = 0;  // what comes next, in buffer_
  std::int64_t line_ = 1, elements_ = 0;
  bool array_ = false, ended_ = false;
  bool last_ = false;  // the array ends behind the element that was handed out
};

}  // namespace r1
