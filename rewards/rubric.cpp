#include "rewards/rubric.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"

namespace r1 {
namespace {

bool applies(const Rubric::Entry& entry, const Prompt& prompt) {
  return entry.tasks.empty() || std::find(entry.tasks.begin(), entry.tasks.end(), prompt.task) != entry.tasks.end();
}

const Rubric::Entry* verdict_entry(const std::vector<Rubric::Entry>& entries, const Prompt& prompt) {
  const Rubric::Entry* judge = nullptr;
  for (const Rubric::Entry& e : entries) {
    if (!applies(e, prompt)) continue;
    if (e.verdict) return &e;
    if (!judge && e.reward->judges_answer()) judge = &e;
  }
  return judge;
}

void merge_columns(const std::string& label, bool deciding, RewardResult& result, Score& score) {
  if (result.verdict != Verdict::kAbstain) score.columns[label + "/verdict"] = to_string(result.verdict);
  if (!deciding && !result.detail.empty()) score.columns[label + "/detail"] = result.detail;
  for (auto& [name, text] : result.columns) {
    if (deciding || !score.columns.contains(name)) score.columns[name] = std::move(text);
    else score.columns[label + "/" + name] = std::move(text);
  }
}

}  // namespace

std::string PromptCheck::summary(std::size_t shown) const {
  if (problems.empty()) return {};
  std::string out = message(problems.size(), " of ", prompts, " prompts cannot be scored: ");
  for (std::size_t i = 0; i < problems.size() && i < shown; ++i) {
    out += (i ? "; " : "") + problems[i].id + ": " + problems[i].text;
  }
  if (problems.size() > shown) out += message("; and ", problems.size() - shown, " more");
  return out;
}

Rubric::Rubric(std::vector<Entry> entries) : entries_(std::move(entries)) {
  if (entries_.empty()) throw ConfigError("rewards: the list is empty; name at least one reward");
  std::set<std::string> labels;
  for (Entry& e : entries_) {
    R1_CHECK(e.reward != nullptr, "a rubric entry without a reward");
    if (e.label.empty()) e.label = e.reward->name();
    if (!labels.insert(e.label).second) {
      throw ConfigError(
          message("rewards: two rewards are called '", e.label, "'; give one of them another name with `as: NAME`"));
    }
    if (!std::isfinite(e.weight))
      throw ConfigError(message("rewards: the weight of '", e.label, "' is ", e.weight, "; it must be finite"));
  }
}

std::vector<Score> Rubric::score(const SampleGroup& group) const {
  std::vector<Score> scores(group.completions.size());
  std::vector<double> sums(scores.size(), 0.0);
  const Entry* deciding = verdict_entry(entries_, group.prompt);
  // The deciding reward's columns go first, so that they get the plain names.
  std::vector<const Entry*> order;
  for (const Entry& e : entries_) {
    if (applies(e, group.prompt)) order.push_back(&e);
  }
  std::stable_partition(order.begin(), order.end(), [&](const Entry* e) { return e == deciding; });
  for (const Entry* e : order) {
    std::vector<RewardResult> results(scores.size());
    with_context(message("reward ", e->label, ", prompt ", group.prompt.id), [&] { e->reward->score(group, results); });
    for (std::size_t i = 0; i < scores.size(); ++i) {
      RewardResult& r = results[i];
      if (r.value) {
        if (!std::isfinite(*r.value)) {
          throw NumericError(message("reward ", e->label, " gave ", *r.value, " for prompt ", group.prompt.id,
                                     ", sample ", i, "; a reward must return a finite number or abstain"));
        }
        scores[i].parts[e->label] = *r.value;
        sums[i] += static_cast<double>(e->weight) * static_cast<double>(*r.value);
        for (const StepReward& s : r.steps) {
          if (!std::isfinite(s.value) || s.token < 0)
            throw NumericError(message("reward ", e->label, " gave ", s.value, " for the step that ends at token ", s.token, " of prompt ",
                                       group.prompt.id, ", sample ", i, "; a step needs a finite number and a token of the completion"));
          scores[i].steps.push_back({s.token, e->weight * s.value});
        }
      }
      if (e == deciding) {
        scores[i].verdict = r.verdict;
        scores[i].detail = r.detail;
      }
      merge_columns(e->label, e == deciding, r, scores[i]);
    }
  }
  for (std::size_t i = 0; i < scores.size(); ++i) scores[i].value = static_cast<float>(sums[i]);
  return scores;
}

bool Rubric::scores_alone() const {
  return std::all_of(entries_.begin(), entries_.end(), [](const Entry& e) { return e.alone; });
}

PromptCheck Rubric::check_prompts(std::span<const Prompt> prompts) const {
  PromptCheck out;
  out.prompts = prompts.size();
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    bool any = false;
    std::string text;
    for (const Entry& e : entries_) {
      if (!applies(e, prompts[i])) continue;
      any = true;
      if (text.empty()) {
        if (const std::string problem = e.reward->check_prompt(prompts[i]); !problem.empty())
          text = e.label + ": " + problem;
      }
    }
    if (!any) text = message("no reward applies to its task '", prompts[i].task, "'");
    if (!text.empty()) out.problems.push_back({i, prompts[i].id, std::move(text)});
  }
  return out;
}

std::vector<std::string> Rubric::self_test(const Prompt& prompt) const {
  std::vector<std::string> failures;
  for (const Entry& e : entries_) {
    if (!applies(e, prompt)) continue;
    for (const KnownAnswer& known : e.reward->known_answers(prompt)) {
      const SampleGroup group{prompt, {known.completion}};
      std::vector<RewardResult> result(1);
      e.reward->score(group, result);
      const RewardResult& r = result[0];
      if (r.verdict == known.verdict && r.value == known.value) continue;
      const auto shown = [](const std::optional<float>& v) { return v ? message(*v) : std::string("abstains"); };
      failures.push_back(message(e.label, ", prompt ", prompt.id, ": ", known.what, " got ", to_string(r.verdict), " (",
                                 shown(r.value), r.detail.empty() ? "" : ", " + r.detail, "), wanted ",
                                 to_string(known.verdict), " (", shown(known.value), "): '",
                                 known.completion.text.substr(0, 120), "'"));
    }
  }
  return failures;
}

std::size_t Rubric::count_known_answers(const Prompt& prompt) const {
  std::size_t n = 0;
  for (const Entry& e : entries_) n += applies(e, prompt) ? e.reward->known_answers(prompt).size() : 0;
  return n;
}

}  // namespace r1
