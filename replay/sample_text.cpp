#include "replay/sample_text.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/format.h"
#include "core/json_text.h"
#include "core/suggest.h"
#include "rl/advantage.h"

namespace r1 {
namespace {

std::string indented(const std::string& text) {
  std::string out = "    ";
  for (const char c : text) out += c == '\n' ? "\n    " : std::string(1, c);
  return out + "\n";
}

std::string number(float v) { return std::isfinite(v) ? human_number(v, 4) : "nan"; }

std::string scores_text(const Score& s) {
  std::string out = message("reward ", number(s.value), ", verdict ", to_string(s.verdict), s.detail.empty() ? "" : " (" + s.detail + ")");
  for (const auto& [name, value] : s.parts) out += message(", ", name, " ", number(value));
  return out;
}

std::string read_text(const Score& s) {
  std::string out;
  for (const auto& [name, value] : s.columns) out += message("    ", name, ": ", value, "\n");
  return out;
}

std::string group_table(const SampleView& v) {
  const RecordedGroup& g = v.rollout.groups[v.place.group];
  std::vector<std::string> header = {"", "sample", "reward", "verdict", "advantage", "tokens", "stop"};
  std::optional<Advantages> again;
  if (v.rescored) {
    header.insert(header.end(), {"new reward", "new verdict", "new advantage"});
    ScoredGroup other;
    other.scores = *v.rescored;
    other.group.completions.resize(v.rescored->size());
    for (Completion& c : other.group.completions) c.stop = StopReason::kEos;
    AdvantageOptions options = v.recipe ? v.recipe->trainer.train_samples.advantage : AdvantageOptions{};
    if (options.kind == AdvantageKind::kGdpo || options.kind == AdvantageKind::kProcess || options.kind == AdvantageKind::kGae) options = {};
    const std::vector<GroupRewards> rewards = {rewards_of(other)};
    again = compute_advantages(rewards, options);
  }
  Table table(header);
  for (std::size_t i = 0; i < g.scored.scores.size(); ++i) {
    const Score& s = g.scored.scores[i];
    const Completion& c = g.scored.group.completions[i];
    std::vector<std::string> row = {i == v.place.sample ? ">" : "", std::to_string(i), number(s.value), to_string(s.verdict),
                                    g.advantages.size() > i && g.advantages[i] ? number(*g.advantages[i]) : "-", std::to_string(c.tokens.size()), to_string(c.stop)};
    if (v.rescored) {
      const Score& n = (*v.rescored)[i];
      row.insert(row.end(), {number(n.value), to_string(n.verdict), number(again->values[0][i])});
    }
    table.add_row(row);
  }
  return table.str();
}

std::string token_table(const SampleView& v) {
  const RecordedGroup& g = v.rollout.groups[v.place.group];
  const Completion& c = g.scored.group.completions[v.place.sample];
  if (c.logprobs.size() != c.tokens.size()) return "";
  const auto updates = token_updates(v.updates, g.samples.size() > v.place.sample ? g.samples[v.place.sample] : -1);
  Table table({"position", "token", "logp", "entropy", "step", "learner logp", "ratio", "advantage", "gradient", "clipped"});
  const std::size_t shown = v.max_tokens == 0 ? c.tokens.size() : std::min(v.max_tokens, c.tokens.size());
  for (std::size_t t = 0; t < shown; ++t) {
    const std::string token = v.tokenizer && c.tokens[t] >= 0 && c.tokens[t] < v.tokenizer->vocab_size() ? json_quote(v.tokenizer->token_bytes(c.tokens[t])) : std::to_string(c.tokens[t]);
    const std::vector<std::string> head = {std::to_string(t), token, number(c.logprobs[t]), c.entropies.size() > t ? number(c.entropies[t]) : "-"};
    const auto it = updates.find(static_cast<std::int32_t>(t));
    if (it == updates.end()) table.add_row(head);
    else
      for (const TokenUpdate& u : it->second) {
        std::vector<std::string> row = head;
        row.insert(row.end(), {std::to_string(u.step), number(u.logprob), number(std::exp(u.logprob - u.old_logprob)), number(u.advantage), number(u.gradient),
                               u.clipped == 1 ? "low" : u.clipped == 2 ? "high" : ""});
        table.add_row(row);
      }
  }
  return table.str() + (shown < c.tokens.size() ? message("    ", c.tokens.size() - shown, " more tokens (--tokens 0 shows all)\n") : "");
}

}  // namespace

SamplePlace find_sample(const RecordedRollout& rollout, const std::string& prompt_id, std::int64_t sample) {
  std::int64_t all = 0;
  std::vector<std::string> ids;
  for (std::size_t g = 0; g < rollout.groups.size(); ++g) {
    const auto n = static_cast<std::int64_t>(rollout.groups[g].scored.scores.size());
    ids.push_back(rollout.groups[g].scored.group.prompt.id);
    if (!prompt_id.empty() && ids.back() == prompt_id) {
      if (sample < 0 || sample >= n) throw ConfigError(message("--sample ", sample, ": prompt ", prompt_id, " has samples 0 to ", n - 1));
      return {g, static_cast<std::size_t>(sample)};
    }
    if (prompt_id.empty() && sample >= all && sample < all + n) return {g, static_cast<std::size_t>(sample - all)};
    all += n;
  }
  if (prompt_id.empty()) throw ConfigError(message("--sample ", sample, ": the rollout of step ", rollout.step, " has samples 0 to ", all - 1));
  const std::string near = nearest_name(prompt_id, ids);
  throw ConfigError(message("--prompt ", prompt_id, " is not in the rollout of step ", rollout.step, near.empty() ? message("; it has ", ids.size(), " prompts, the first is ", ids.front())
                                                                                                               : message("; did you mean ", near, "?")));
}

std::optional<double> sample_loss(const RecordedUpdate& update, std::int32_t sample, const Recipe& recipe) {
  LossDenominator denominator;
  denominator.length_budget = recipe.learner.length_budget;
  const RecordedTokens* found = nullptr;
  for (const RecordedTokens& s : update.samples) {
    ++denominator.sequences;
    denominator.tokens += static_cast<std::int64_t>(s.positions.size());
    if (s.sample == sample) found = &s;
  }
  if (!found) return std::nullopt;
  PolicyLossOptions options = recipe.learner.loss;
  options.kl_coefficient = 0;  // added below, as it was
  options.entropy_coefficient = 0;
  options.mismatch = MismatchOptions("none");
  LossInput in;
  in.logprobs = found->logprobs, in.old_logprobs = found->old_logprobs, in.advantages = found->advantages;
  const std::vector<std::int64_t> answer(found->positions.size(), 0), tokens = {static_cast<std::int64_t>(found->positions.size())};
  in.answer = answer, in.answer_tokens = tokens;
  double loss = policy_loss(in, denominator, options).loss;
  const double weight = aggregation_weight(options.aggregation, denominator, tokens[0]);
  for (const float kl : found->kl) loss += recipe.learner.loss.kl_coefficient * weight * static_cast<double>(kl);
  return loss;
}

std::string sample_text(const SampleView& v) {
  const RecordedGroup& g = v.rollout.groups[v.place.group];
  const Prompt& p = g.scored.group.prompt;
  const Completion& c = g.scored.group.completions[v.place.sample];
  const Score& s = g.scored.scores[v.place.sample];
  const std::int32_t index = g.samples.size() > v.place.sample ? g.samples[v.place.sample] : -1;
  std::string out = message("step ", v.rollout.step, ", rollout ", v.rollout.rollout, ", prompt ", p.id, ", sample ", v.place.sample, " of ", g.scored.scores.size(),
                            g.kept ? "" : " (group dropped by dynamic sampling)", "\nprompt, ", p.tokens.size(), " tokens\n", indented(p.text), "completion, ", c.tokens.size(), " tokens, stop: ",
                            to_string(c.stop), "\n", indented(c.text), "gold ", p.reference.empty() ? "-" : p.reference, "\n", scores_text(s), "\n");
  if (!s.columns.empty()) out += "what the rewards read\n" + read_text(s);
  if (v.rescored) {
    const Score& n = (*v.rescored)[v.place.sample];
    out += message("by the other rewards: ", scores_text(n), "\n");
    if (!n.columns.empty()) out += "what they read\n" + read_text(n);
  }
  out += "the group\n" + group_table(v);
  if (index >= 0)
    for (const RecordedUpdate& u : v.updates)
      if (v.recipe)
        if (const auto loss = sample_loss(u, index, *v.recipe)) out += message("loss of this sample in update ", u.step, ": ", human_number(*loss, 5), "\n");
  const std::string tokens = token_table(v);
  if (!tokens.empty()) out += "tokens; ratio = learner / old policy, gradient = d loss / d logp\n" + tokens;
  return out;
}

}  // namespace r1
