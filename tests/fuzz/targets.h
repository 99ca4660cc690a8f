// What is fuzzed: functions of arbitrary bytes that must neither crash, hang nor break the promises checked inside. The
// same functions run under libFuzzer (fuzz_main.cpp, preset `fuzz`) and over the kept corpus (replay_test.cpp).
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

namespace r1::fuzz {

void math(std::string_view bytes);      // gold, a line break, answer: parser and checker
void extract(std::string_view bytes);   // a completion: answers, think block, programs
void format(std::string_view bytes);    // a byte of options, a completion: form and tag count
void language(std::string_view bytes);  // a byte of options, a completion: neutral spans, words, detector
void verify(std::string_view bytes);    // a byte that picks the command, a request line: protocol, tests as JSON

struct Target {
  const char* name;  // also the corpus folder
  void (*run)(std::string_view bytes);
};
inline constexpr Target kTargets[] = {
    {"math", math}, {"extract", extract}, {"format", format}, {"language", language}, {"verify", verify}};

// A broken promise: libFuzzer and ctest both see an abort.
#define R1_FUZZ_CHECK(condition)                                                          \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)

// `part` is empty or lies inside `whole`.
inline bool inside(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

}  // namespace r1::fuzz
