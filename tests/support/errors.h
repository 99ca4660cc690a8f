// Helpers for tests of messages.
#pragma once

#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "core/error.h"

namespace r1::test {

// What the error says that `action` throws; others than E go on.
template <class E = Error, class F>
std::string error_of(F&& action) {
  try {
    std::forward<F>(action)();
  } catch (const E& e) {
    return e.what();
  }
  return "no error";
}

// Shows the text where the part is missing.
inline bool contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  MESSAGE(text);
  return false;
}

}  // namespace r1::test
