// Java wants a file named after its public class, and a start told by name. Programs call these what they like.
#pragma once

#include <string>
#include <string_view>

namespace r1::code {

struct JavaClasses {
  std::string file = "Main";  // the public class, else the one with main(), else the first, else "Main"
  std::string main = "Main";  // the class with a static main(), with its package; else as `file`
};

// Reads top-level class, interface, enum and record declarations; comments, strings and characters are skipped. Names
// hold Java letters, digits, _ and $ only. Linear.
JavaClasses java_classes(std::string_view source);

}  // namespace r1::code
