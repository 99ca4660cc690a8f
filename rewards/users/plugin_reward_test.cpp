#include "rewards/plugin.h"
#include "rewards/users/user_test_support.h"

namespace r1 {
namespace {

using test::contains;
using test::error_of;
using test::group_of;

std::string entry(const std::string& more = "", const std::string& library = R1_TEST_PLUGIN, const std::string& name = "naughty") {
  return "{plugin: '" + library + ":" + name + "'" + more + "}";
}
std::string fails(const std::string& text) {
  return error_of([&] { test::user_rubric(text); });
}

TEST_CASE("a plug-in's reward scores; what it throws or returns wrongly names it") {
  CHECK(test::user_rubric(entry()).score(group_of({"a", "b"}))[1].value == 1.f);
  const auto scoring = [](const std::string& what) {
    return error_of([&] { test::user_rubric(entry(", arguments: {what: " + what + "}")).score(group_of({"a"})); });
  };
  CHECK(contains(scoring("throw"), ":naughty threw: index 7 of 3"));
  CHECK(contains(scoring("throw"), "prompt row-1"));
  CHECK(contains(scoring("int"), "threw something that is no std::exception"));
  CHECK(contains(scoring("nan"), "sample 0: the reward is nan"));
  CHECK(contains(scoring("verdict"), "77 is no verdict"));
  const auto scores = test::user_rubric(entry(", verdict: true, on_error: abstain, arguments: {what: throw}")).score(group_of({"a", "b"}));
  CHECK(scores[1].verdict == Verdict::kError);
  CHECK(scores[1].parts.empty());
}

TEST_CASE("what cannot be loaded is refused before the run, by name") {
  CHECK(contains(fails("{plugin: libmine.so}"), "write LIBRARY.so:NAME"));
  CHECK(contains(fails(entry("", "/no/such/lib.so")), "there is no file '/no/such/lib.so'"));
  CHECK(contains(fails(entry("", "libr1-no-such-plugin.so")), "cannot be loaded"));
  CHECK(contains(fails(entry("", "libm.so.6")), "is no reward plug-in"));
  const std::string other = fails(entry("", R1_TEST_OTHER_PLUGIN));
  CHECK(contains(other, "was built for another version: it has reward interface 0"));
  CHECK(contains(other, "this program has " + plugin_abi()));
  CHECK(contains(fails(entry("", R1_TEST_PLUGIN, "naugthy")), "did you mean 'naughty'?"));
  CHECK(contains(fails(entry("", R1_TEST_PLUGIN, "nothing")), "made no reward"));
  CHECK(contains(fails(entry(", arguments: {refuse: true}")), "refuse is set"));
  CHECK(contains(fails(entry(", arguments: {refuse: 1}")), "refuse is 1, expected true or false"));
  CHECK(contains(fails(entry(", arguments: {waht: x}")), "reads no argument 'waht'"));
  CHECK(contains(fails(entry(", arguments: 3")), "section of names and values"));
  CHECK(contains(fails(entry(", timeout: 3")), "timeout"));
}

}  // namespace
}  // namespace r1
