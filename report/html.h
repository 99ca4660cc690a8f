// Pieces of HTML: every text of a run goes through escape(), since completions are somebody else's words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace r1::report {

// For text and for attributes in double quotes. Bytes that are not UTF-8 and control characters become U+FFFD.
std::string escape(std::string_view text);

// A table in a box that scrolls sideways by touch and by keyboard. Cells are HTML already. The first column are row headings.
class HtmlTable {
 public:
  HtmlTable(std::string caption, std::vector<std::string> header);
  void add_row(std::vector<std::string> cells);  // missing cells are empty
  bool empty() const { return rows_.empty(); }
  std::string str() const;

 private:
  std::string caption_;
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// <details> with a summary; both are HTML.
std::string fold(std::string_view summary, std::string_view body, bool open = false);
// <section> with a heading; empty if the body is.
std::string section(std::string_view id, std::string_view title, std::string_view body);
std::string percent(double share, int decimals = 1);  // "83.3 %"; "–" if NaN

}  // namespace r1::report
