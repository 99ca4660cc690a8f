// Numbers, durations and tables for people. UTF-8 text; widths count characters, not bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

std::string human_count(double n);             // "950", "12.3k", "135M", "1.50B"
std::string with_commas(std::int64_t n);       // "1,234,567"
std::string human_bytes(std::uint64_t bytes);  // "512 B", "1.5 KiB", "270 MiB"
std::string human_duration(double seconds);    // "0.8 s", "42 s", "3 min 12 s", "2 h 05 min", "3 d 04 h"
// At most `digits` significant digits, without an exponent where the number is near 1: "0.0123", "1.5e-07", "nan".
std::string human_number(double value, int digits = 4);

// Characters (code points) of UTF-8 text; colour sequences ("\x1b[...m") have none.
std::size_t display_width(std::string_view text);
// The first `width` characters; a cut is marked by "…" (or "~" where ascii).
std::string cut_to_width(std::string_view text, std::size_t width, bool ascii = false);

// A word of a command that a person may copy into a POSIX shell: quoted where it has to be ("'my runs/a'").
std::string shell_word(std::string_view text);

// Columns aligned to their widest cell: numbers to the right, text to the left.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void add_row(std::vector<std::string> cells);  // missing cells are empty
  std::string str() const;                       // lines end in '\n', no trailing spaces

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace r1
