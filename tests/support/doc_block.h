// Parts of a page under docs/ that a test computes: between "<!-- NAME: COMMAND -->" and "<!-- end NAME -->".
#pragma once

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

namespace r1::test {

// The page says what was computed just now. With R1_WRITE_DOCS=1 the page is written instead.
inline void check_doc_block(const std::string& page, const std::string& name, const std::string& text) {
  const std::string path = std::string(R1_SOURCE_DIR) + "/docs/" + page;
  std::ifstream in(path);
  REQUIRE_MESSAGE(in.good(), path);
  std::stringstream all;
  all << in.rdbuf();
  std::string s = all.str();
  const std::size_t open = s.find("<!-- " + name + ":"), close = s.find("<!-- end " + name + " -->");
  REQUIRE_MESSAGE((open != std::string::npos && close != std::string::npos && open < close), name);
  const std::size_t begin = s.find('\n', open) + 1;
  if (std::getenv("R1_WRITE_DOCS")) {
    s.replace(begin, close - begin, text);
    std::ofstream(path) << s;
    return;
  }
  CHECK_MESSAGE(s.substr(begin, close - begin) == text, (path + " is out of date; run the command in its comment"));
}

}  // namespace r1::test
