// The languages of the runner: names, how to build, how to run. A toolchain must lie where boxes can see it (/usr).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace r1::code {

struct Language {
  std::string name;                // "python", "cpp", "c", "javascript"
  std::vector<std::string> aliases;
  std::string file;                // what the program is called in the box
  std::vector<std::string> build;  // command that makes `main`; empty = interpreted
  std::vector<std::string> run;
  bool installed() const;          // its first command exists
};

const std::vector<Language>& languages();
// "py" -> "python"; empty if unknown. Letter case does not matter.
std::string canonical_language(std::string_view name);
const Language* find_language(std::string_view name);  // nullptr if unknown

}  // namespace r1::code
