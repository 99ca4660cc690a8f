// The languages of the runner: names, how to build, how to run. A toolchain must lie where boxes can see it (/usr).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rewards/code/box.h"

namespace r1::code {

// In commands, {file} stands for the name of the program's file, {class} for the class to start (Java alone) and
// {heap_mb} for the part of the memory limit that a runtime with a heap of its own may fill.
struct Language {
  std::string name;                // "python", "cpp", "c", "javascript", "java", "go", "rust"
  std::vector<std::string> aliases;
  std::string file;                // what the program is called in the box
  std::vector<std::string> build;  // command that makes `main`; empty = interpreted
  std::vector<std::string> run;
  std::string needs;               // the program without which there is no such language
  std::vector<std::string> version = {};  // prints it; empty: needs --version
  int own_threads = 0;             // of the runtime; they do not count among the program's processes
  std::string memory_words = {};   // on stderr of a program whose runtime was refused memory
  bool installed() const;
};

const std::vector<Language>& languages();
// "py" -> "python"; empty if unknown. Letter case does not matter.
std::string canonical_language(std::string_view name);
const Language* find_language(std::string_view name);  // nullptr if unknown

// What is installed, for `r1 doctor` and for the key of built programs.
struct Toolchain {
  std::string language;
  std::string path;     // of Language::needs; empty = not installed
  std::string version;  // the first line that it says of itself, or why it says none
};
std::vector<Toolchain> toolchains();  // one for each language; asks each once, in a box; thread-safe
std::string toolchain_version(const Language& language);

// A program's run or build in a box, placeholders filled. `program` tells Java's class names.
std::vector<std::string> command(const std::vector<std::string>& words, const Language& language, const std::string& program,
                                 const Limits& limits);
std::string file_name(const Language& language, const std::string& program);
// Folders outside /usr that a toolchain's own links lead to.
std::vector<std::string> toolchain_folders(const Language& language);

}  // namespace r1::code
