// Helpers for the tests of users' rewards.
#pragma once

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "core/config.h"
#include "core/error.h"
#include "rewards/factory.h"
#include "rewards/users/users.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1::test {

inline SampleGroup group_of(const std::vector<std::string>& texts, const std::string& id = "row-1") {
  SampleGroup g;
  g.prompt.id = id;
  g.prompt.text = "What is 1 + 1?";
  g.prompt.reference = "2";
  g.prompt.columns = {{"answer", "\"2\""}, {"level", "3"}, {"tags", R"(["a", "b"])"}, {"prompt", "\"What is 1 + 1?\""}};
  for (const std::string& t : texts) {
    Completion c;
    c.text = t;
    c.tokens = {1, 2, static_cast<TokenId>(t.size())};
    c.stop = StopReason::kEos;
    g.completions.push_back(std::move(c));
  }
  return g;
}

inline std::string write_program(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
  chmod(path.c_str(), 0755);
  return path.string();
}

// The interpreter itself: python3 may be a script that looks for it, at each start.
inline std::string interpreter() {
  static const std::string path = [] {
    FILE* out = popen("python3 -c 'import sys; print(sys.executable)'", "r");
    char line[4096] = "";
    REQUIRE(out != nullptr);
    REQUIRE(fgets(line, sizeof line, out) != nullptr);
    pclose(out);
    return std::string(line, std::string_view(line).find('\n'));
  }();
  return path;
}
// A rubric with one entry, as from a recipe: "{command: ./score, timeout: 1}".
inline Rubric user_rubric(const std::string& entry, void (*add)(RewardContext&) = add_user_rewards) {
  const Config config = Config::parse("rewards: [" + entry + "]\n", "recipe.yaml");
  ConfigReader root(config);
  RewardContext context;
  add(context);
  Rubric rubric = make_rubric(root.sections("rewards", "name"), context);
  root.finish();
  return rubric;
}

}  // namespace r1::test
