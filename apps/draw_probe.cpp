#include "apps/draw_probe.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "apps/runtime.h"
#include "core/error.h"
#include "recipes/recipe.h"
#include "rl/rollout_metrics.h"

namespace r1 {
namespace {

constexpr double kMostPrompts = 64, kFewestPrompts = 4;
constexpr double kShare = 0.7;    // of the time that decoding may take; the rest is opening and prompts
constexpr int kFewestTokens = 16;
constexpr double kMayBeCut = 0.05;  // share of completions that fewer tokens than the recipe's may cut before they say nothing of right and wrong

double step_seconds(const ModelSpeeds& s, double rows) { return (s.step + rows * s.token) * s.sample_clock; }

// How many prompts, and tokens of each completion, so that it ends in time.
std::pair<int, int> fit(const ModelSpeeds& speeds, int group, int max_new_tokens, double seconds) {
  int prompts = static_cast<int>(kMostPrompts);
  while (prompts > kFewestPrompts && max_new_tokens * step_seconds(speeds, prompts * group) > kShare * seconds) --prompts;
  const double tokens = kShare * seconds / std::max(1e-9, step_seconds(speeds, prompts * group));
  return {prompts, std::min(max_new_tokens, std::max(kFewestTokens, static_cast<int>(std::min(tokens, 1e6))))};
}

// Scores where the rubric can give them: a reward of another program or model is not started for a plan.
std::optional<std::vector<ScoredGroup>> scored(const Rubric& rubric, const std::vector<SampleGroup>& groups) {
  std::vector<ScoredGroup> out;
  try {
    for (const SampleGroup& group : groups) out.push_back({group, rubric.score(group)});
  } catch (const Error&) {
    return std::nullopt;
  }
  return out;
}

}  // namespace

std::optional<FewDrawn> draw_some(const Asking& asking, const std::string& model, DType dtype, const ModelSpeeds& speeds, int threads, double seconds) {
  try {
    Runtime run = open_model(model, dtype, threads, "cpu");
    const auto [prompts, tokens] = fit(speeds, asking.group, asking.sampling.max_new_tokens, seconds);
    DataSection data = asking.data;
    data.limit = data.limit > 0 ? std::min<std::int64_t>(data.limit, prompts) : prompts;
    std::vector<Prompt> asked = load_recipe_prompts(data, "data", run.tokenizer, *detail::no_reward()).prompts;
    if (asked.size() > static_cast<std::size_t>(prompts)) asked.resize(static_cast<std::size_t>(prompts));
    BackendNeeds needs = device_default();
    const BackendParts parts = run.backend->make(needs, run.tokenizer);
    std::vector<RolloutRequest> requests;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      RolloutRequest r{std::move(asked[i]), asking.group, asking.sampling, DrawKey{0, 0, i, 0}};
      r.sampling.max_new_tokens = tokens;
      requests.push_back(std::move(r));
    }
    const std::vector<SampleGroup> groups = generate(*parts.engine, std::move(requests));
    FewDrawn out;
    out.groups = groups.size(), out.max_new_tokens = tokens;
    double completions = 0, cut = 0;
    for (const SampleGroup& g : groups)
      for (const Completion& c : g.completions) ++completions, cut += c.stop == StopReason::kLength, out.tokens += static_cast<double>(c.tokens.size());
    if (completions == 0) return std::nullopt;
    out.tokens /= completions;
    if (!asking.rubric || (tokens < asking.sampling.max_new_tokens && cut > kMayBeCut * completions)) return out;
    if (const auto scores = scored(*asking.rubric, groups)) {
      const auto metrics = rollout_metrics(*scores);
      if (const auto it = metrics.find("accuracy"); it != metrics.end()) out.right = it->second;
      if (const auto it = metrics.find("frac_reward_zero_std"); it != metrics.end()) out.mixed = 1 - it->second;
    }
    return out;
  } catch (const Error&) {
    return std::nullopt;  // not there, or refused: the plan says what is assumed then
  }
}

}  // namespace r1
