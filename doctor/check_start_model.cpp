// check_start_model
#include <algorithm>
#include <chrono>
#include <map>

#include "core/error.h"
#include "core/format.h"
#include "doctor/checks.h"

namespace r1::doctor {
namespace {

std::string tail(const std::string& text) {
  const std::size_t from = text.size() > 240 ? text.size() - 240 : 0;
  return (from ? "..." : "") + text.substr(from);
}

std::string percent(std::size_t part, std::size_t all) {
  return message(human_number(100.0 * static_cast<double>(part) / static_cast<double>(std::max<std::size_t>(all, 1)), 3), " %");
}

struct Tally {
  std::size_t groups = 0, mixed = 0, all_right = 0, some_right = 0, differing = 0;
  std::size_t samples = 0, right = 0, cut = 0;
  std::int64_t tokens = 0;
  double reward = 0;
  std::map<Verdict, std::size_t> verdicts;
  std::map<Verdict, std::string> examples;  // the end of the first completion of that verdict, and why
};

void add(Tally& t, const SampleGroup& group, const std::vector<Score>& scores) {
  std::size_t right = 0;
  const auto [low, high] = std::minmax_element(scores.begin(), scores.end(), [](const Score& a, const Score& b) { return a.value < b.value; });
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const Completion& c = group.completions[i];
    right += scores[i].verdict == Verdict::kCorrect;
    t.cut += c.stop == StopReason::kLength;
    t.tokens += static_cast<std::int64_t>(c.tokens.size());
    t.reward += scores[i].value;
    if (++t.verdicts[scores[i].verdict] == 1) t.examples[scores[i].verdict] = message(group.prompt.id, " (", scores[i].detail, "): '", tail(c.text), "'");
  }
  ++t.groups;
  t.samples += scores.size();
  t.right += right;
  t.some_right += right > 0;
  t.all_right += right == scores.size();
  t.mixed += right > 0 && right < scores.size();
  t.differing += high->value > low->value;
}

void report(const Subject& s, const Tally& t, double seconds, Findings& out) {
  const int group = s.recipe.trainer.samples_per_prompt;
  out.good("pass-at-g", message("pass@", group, " ", percent(t.some_right, t.groups), ", pass@1 ", percent(t.right, t.samples), ", mean reward ",
                                human_number(t.reward / static_cast<double>(t.samples), 3), ", mean length ",
                                human_number(static_cast<double>(t.tokens) / static_cast<double>(t.samples), 3), " tokens on ", t.groups, " prompts x ", group, " samples (",
                                human_duration(seconds), ")"));
  const std::string signal = message(t.differing, " of ", t.groups, " groups have rewards that differ (", t.mixed, " with right and wrong answers); the others teach nothing");
  const bool solved = t.all_right == t.groups, unread = t.verdicts.count(Verdict::kWrong) == 0 && t.right == 0;
  // None of n says only that less than 3 / n do (95 %): a run may still find its first right answer.
  if (t.differing == 0)
    out.add(solved || unread ? Level::kError : Level::kWarning, "no-signal",
            message(signal, solved ? ": every answer is right already" : unread ? ": no answer could be judged" : ": no answer earns more than another",
                    solved ? "" : message("; with 95 % confidence fewer than ", human_number(std::min(100.0, 300.0 / static_cast<double>(t.groups)), 2), " % of the groups do")),
            solved ? "harder prompts: there is nothing left to learn" : "easier prompts, more samples, supervised examples first, or a reward that the answers can reach");
  else if (t.differing * 10 < t.groups * 2)
    out.warning("little-signal", signal, "most of the sampling is wasted: prompts of middle difficulty, more samples, or rl.dynamic_sampling");
  else out.good("signal", signal);
  if (t.cut * 2 > t.samples)
    out.warning("truncated", message(percent(t.cut, t.samples), " of the completions are cut at rollout.max_new_tokens = ", s.recipe.trainer.sampling.max_new_tokens),
                "raise it, or look at the stop tokens: a cut answer is mostly a wrong one");
  const auto share = [&](Verdict v) { const auto it = t.verdicts.find(v); return it == t.verdicts.end() ? std::size_t{0} : it->second; };
  if (share(Verdict::kUnparsed) * 2 > t.samples)
    out.warning("unparsed", message(percent(share(Verdict::kUnparsed), t.samples), " of the answers cannot be read, the first: ", t.examples.at(Verdict::kUnparsed)),
                "does the prompt ask for the form that the reward reads?");
  for (const Verdict v : {Verdict::kError, Verdict::kTimeout})
    if (share(v) * 20 > t.samples)
      out.warning("reward-errors", message(percent(share(v), t.samples), " of the verdicts are '", to_string(v), "', the first: ", t.examples.at(v)), "the checker itself fails; they count as wrong");
  if (share(Verdict::kAbstain) == t.samples) out.warning("all-abstain", "every verdict is 'abstain': nothing judges these answers", "see no-verdict");
}

}  // namespace

void check_start_model(const Subject& s, RolloutEngine& engine, std::size_t count, Findings& out) {
  out.section("start model");
  const std::vector<const Prompt*> prompts = spread(s.prompts, count);
  if (prompts.empty()) return;
  std::vector<RolloutRequest> requests;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (static_cast<std::int64_t>(prompts[i]->tokens.size()) + s.recipe.trainer.sampling.max_new_tokens > s.model.max_position_embeddings) continue;
    requests.push_back({*prompts[i], s.recipe.trainer.samples_per_prompt, s.recipe.trainer.sampling, DrawKey{s.recipe.trainer.seed, 0, i, 0}});
  }
  if (requests.empty()) return;
  Tally tally;
  const auto start = std::chrono::steady_clock::now();
  try {
    for (const SampleGroup& group : generate(engine, std::move(requests))) add(tally, group, s.recipe.rubric->score(group));
  } catch (const Error& e) {
    out.error("rollout", e.what(), "a run would end here");
    return;
  }
  report(s, tally, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), out);
}

}  // namespace r1::doctor
