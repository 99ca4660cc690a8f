// A program of your own with a reward of your own linked in: reads JSON lines {"answer", "completions"}, scores them by the
// rewards of a YAML file, in which `name: brevity` is ours. See README.md.
#include <cstdio>
#include <fstream>
#include <iostream>

#include <nlohmann/json.hpp>

#include "core/config.h"
#include "core/error.h"
#include "rewards/factory.h"

namespace {

// 1 for an empty completion, falling by `per_word` for each word, never below 0.
class Brevity : public r1::RewardFunction {
 public:
  explicit Brevity(r1::ConfigReader& options) : per_word_(options.get_in<float>("per_word", 0.01f, 0.f, 1.f)) {}
  std::string_view name() const override { return "brevity"; }
  void score(const r1::SampleGroup& group, std::span<r1::RewardResult> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      std::istringstream in(group.completions[i].text);
      const auto words = std::distance(std::istream_iterator<std::string>(in), {});
      out[i].value = std::max(0.f, 1.f - per_word_ * static_cast<float>(words));
      out[i].columns["words"] = std::to_string(words);
    }
  }

 private:
  float per_word_;
};

int run(const std::string& recipe, const std::string& data) {
  r1::RewardContext context;
  context.linked["brevity"] = [](r1::ConfigReader& options) { return std::make_unique<Brevity>(options); };
  r1::ConfigReader root(r1::Config::load(recipe));
  const r1::Rubric rubric = r1::make_rubric(root.sections("rewards", "name"), context);
  root.finish();

  std::ifstream in(data);
  if (!in) throw r1::IoError("cannot read " + data);
  for (std::string line; std::getline(in, line);) {
    const auto row = nlohmann::json::parse(line);
    r1::SampleGroup group;
    group.prompt.id = group.prompt.text = row.at("question").get<std::string>();
    group.prompt.reference = row.at("answer").get<std::string>();
    for (const auto& text : row.at("completions")) {
      group.completions.emplace_back().text = text.get<std::string>();
      group.completions.back().stop = r1::StopReason::kEos;
    }
    for (const r1::Score& score : rubric.score(group)) std::printf("%.3f %s words=%s\n", score.value, r1::to_string(score.verdict), score.columns.at("words").c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: cpp_reward REWARDS.yaml DATA.jsonl\n");
    return 2;
  }
  try {
    return run(argv[1], argv[2]);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "cpp_reward: error: %s\n", e.what());
    return 1;
  }
}
