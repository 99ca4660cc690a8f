// Each example's rewards.yaml, as its README says to use it. gRPC is grpc_example_test.
#include <cstdio>

#include "rewards/users/user_test_support.h"

namespace r1 {
namespace {

using test::contains;

std::string example(const std::string& name) { return std::string(R1_SOURCE_DIR) + "/examples/" + name; }

// The rewards of examples/NAME/rewards.yaml, from within `folder`.
Rubric rubric_of(const std::string& name, const std::string& folder) {
  std::filesystem::current_path(folder);
  ConfigReader root(Config::load(example(name) + "/rewards.yaml"));
  RewardContext context;
  add_user_rewards(context);
  Rubric rubric = make_rubric(root.sections("rewards", "name"), context);
  root.finish();
  return rubric;
}

SampleGroup planets() {
  SampleGroup g = test::group_of({"<think>By mass and size.</think>\n<answer>Jupiter</answer>", "<answer>Saturn</answer>", "<answer>Jupiter</answer>", "no idea", ""});
  g.prompt.reference = "Jupiter";
  return g;
}

TEST_CASE("python_reward") {
  const auto scores = rubric_of("python_reward", example("python_reward")).score(planets());
  const auto agrees = [&](std::size_t i) {
    const auto part = scores[i].parts.find("agrees_with_group");
    return part == scores[i].parts.end() ? -1.f : part->second;
  };
  CHECK(scores[1].parts.at("brevity") == doctest::Approx(0.99));
  CHECK(agrees(0) == 1.f);
  CHECK(agrees(1) == 0.f);
  CHECK(agrees(2) == 1.f);
  CHECK(agrees(3) == -1.f);  // abstains
  CHECK(scores[1].columns.at("answer_found") == "Saturn");
  CHECK(scores[0].columns.at("metric/answers_given") == "0.6");
}

TEST_CASE("command_reward") {
  const auto scores = rubric_of("command_reward", example("command_reward")).score(planets());
  CHECK(scores[0].verdict == Verdict::kCorrect);
  CHECK(scores[1].verdict == Verdict::kWrong);
  CHECK(scores[4].verdict == Verdict::kUnparsed);
  CHECK(scores[4].parts.empty());
  CHECK(scores[3].columns.at("last_line") == "7");
}

TEST_CASE("plugin_reward") {
  const Rubric rubric = rubric_of("plugin_reward", PLUGIN_DIR);
  const auto scores = rubric.score(planets());
  CHECK(scores[0].parts.at("brevity") == doctest::Approx(1 - 0.02 * 3));
  CHECK(scores[4].parts.at("shortest") == 1.f);
  CHECK(scores[3].parts.at("shortest") == 0.f);
  Prompt no_gold = planets().prompt;
  no_gold.reference.clear();
  CHECK(contains(rubric.check_prompts(std::span(&no_gold, 1)).summary(), "shortest: has no gold answer"));
}

TEST_CASE("cpp_reward") {
  FILE* out = popen((std::string("'") + CPP_REWARD + "' '" + example("cpp_reward") + "/rewards.yaml' '" + example("answers.jsonl") + "' 2>&1").c_str(), "r");
  REQUIRE(out != nullptr);
  std::string text;
  char line[512];
  while (std::fgets(line, sizeof line, out)) text += line;
  CHECK(pclose(out) == 0);
  CHECK(contains(text, "1.088 ok words=6\n"));
  CHECK(contains(text, "0.098 wrong words=1\n"));
}

}  // namespace
}  // namespace r1
