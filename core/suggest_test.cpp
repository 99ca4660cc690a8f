#include "core/suggest.h"

#include <vector>

#include <doctest/doctest.h>

namespace r1 {
namespace {

TEST_CASE("edit_distance counts edits and swaps of neighbours") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("lerning_rate", "learning_rate") == 1);
  CHECK(edit_distance("stpes", "steps") == 1);
  CHECK(edit_distance("Steps", "steps") == 0);
}

TEST_CASE("nearest_name suggests only what is near") {
  const std::vector<std::string> known{"learning_rate", "steps", "seed", "kl"};
  CHECK(nearest_name("lerning_rate", known) == "learning_rate");
  CHECK(nearest_name("step", known) == "steps");
  CHECK(nearest_name("kn", known) == "kl");
  CHECK(nearest_name("lr", known).empty());
  CHECK(nearest_name("temperature", known).empty());
  CHECK(nearest_name("x", {}).empty());
}

TEST_CASE("join_names") {
  CHECK(join_names({}) == "(none)");
  CHECK(join_names(std::vector<std::string>{"a"}) == "a");
  CHECK(join_names(std::vector<std::string>{"a", "b", "c"}) == "a, b and c");
}

}  // namespace
}  // namespace r1
