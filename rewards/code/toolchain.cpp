#include "rewards/code/toolchain.h"

#include <unistd.h>

#include <algorithm>

namespace r1::code {

const std::vector<Language>& languages() {
  // Python in isolated mode: no user site, no PYTHON* variables. Node reserves far more address space than it uses,
  // which is why the box limits resident memory and not address space.
  static const std::vector<Language> all = {
      {"python", {"py", "python3", "py3", "cpython"}, "main.py", {}, {"/usr/bin/python3", "-I", "main.py"}},
      {"cpp", {"c++", "cc", "cxx", "cpp17", "cpp20", "c++17", "c++20", "g++"}, "main.cpp",
       {"/usr/bin/g++", "-std=gnu++20", "-O2", "-pipe", "-pthread", "-w", "-o", "main", "main.cpp"}, {"/w/box/main"}},
      {"c", {"c11", "c17", "gcc"}, "main.c",
       {"/usr/bin/gcc", "-std=gnu17", "-O2", "-pipe", "-pthread", "-w", "-o", "main", "main.c", "-lm"}, {"/w/box/main"}},
      {"javascript", {"js", "node", "nodejs"}, "main.js", {}, {"/usr/bin/node", "main.js"}},
  };
  return all;
}

bool Language::installed() const { return access((build.empty() ? run : build)[0].c_str(), X_OK) == 0; }

std::string canonical_language(std::string_view name) {
  std::string low(name);
  for (char& c : low) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  for (const Language& l : languages())
    if (l.name == low || std::find(l.aliases.begin(), l.aliases.end(), low) != l.aliases.end()) return l.name;
  return {};
}

const Language* find_language(std::string_view name) {
  const std::string canonical = canonical_language(name);
  for (const Language& l : languages())
    if (l.name == canonical) return &l;
  return nullptr;
}

}  // namespace r1::code
