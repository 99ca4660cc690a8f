// load_prompts, check_data
#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "core/error.h"
#include "core/format.h"
#include "distill/decontaminate.h"
#include "doctor/checks.h"
#include "doctor/question.h"
#include "rl/statistics.h"

namespace r1::doctor {
namespace {

std::string share_text(std::size_t part, std::size_t all) {
  return message(with_commas(static_cast<std::int64_t>(part)), " of ", with_commas(static_cast<std::int64_t>(all)), " (",
                 human_number(100.0 * static_cast<double>(part) / static_cast<double>(std::max<std::size_t>(all, 1)), 3), " %)");
}

std::string cut(const std::string& text) { return cut_to_width(text, 160); }

void check_golds(const Subject& s, Findings& out) {
  std::map<std::string, std::size_t> golds;
  std::size_t with_gold = 0, told = 0;
  std::string example;
  for (const Prompt& p : s.prompts) {
    if (p.reference.empty()) continue;
    ++with_gold;
    ++golds[p.reference];
    const std::string question = question_of(p, s.recipe.data.instruction);
    // A short gold stands in many questions by chance; a long one, or one marked as the answer, does not.
    const bool inside = p.reference.size() >= 16 ? question.find(p.reference) != std::string::npos
                                                 : question == p.reference || question.find("#### " + p.reference) != std::string::npos ||
                                                       question.find("\\boxed{" + p.reference + "}") != std::string::npos;
    if (inside && ++told == 1) example = p.id;
  }
  if (with_gold < 20) return;
  const auto most = std::max_element(golds.begin(), golds.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (static_cast<double>(most->second) > 0.9 * static_cast<double>(with_gold))
    out.warning("gold-constant", message("the gold answer is '", cut(most->first), "' in ", share_text(most->second, with_gold), " of the rows"),
                "data.answer probably names the wrong column; a policy would learn to say this always");
  if (static_cast<double>(told) > 0.02 * static_cast<double>(with_gold))
    out.error("gold-in-prompt", message("the question holds its gold answer in ", share_text(told, with_gold), " of the rows, first in ", example),
              "data.prompt probably names a column with the solution; copying would be rewarded");
}

void check_duplicates(const Subject& s, Findings& out) {
  std::unordered_map<std::string, std::size_t> seen;
  std::size_t again = 0;
  for (const Prompt& p : s.prompts) again += seen[p.text]++ > 0;
  if (again * 20 <= s.prompts.size()) return;
  const std::string text = message(share_text(again, s.prompts.size()), " training prompts repeat an earlier one");
  if (s.recipe.data.generate) out.note("duplicate-prompts", text, "a small task repeats itself; distinct: true draws different ones");
  else out.warning("duplicate-prompts", text, "remove them: their groups count several times in an epoch");
}

void check_lengths(const Subject& s, Findings& out) {
  const auto limit = s.model.max_position_embeddings;
  const int budget = s.recipe.trainer.sampling.max_new_tokens;
  std::size_t over = 0, longest = 0;
  std::string first;
  for (const auto* list : {&s.prompts, &s.eval_prompts}) {
    for (const Prompt& p : *list) {
      longest = std::max(longest, p.tokens.size());
      if (static_cast<std::int64_t>(p.tokens.size()) + budget > limit && over++ == 0) first = p.id;
    }
  }
  const std::string text = message("longest prompt ", longest, " tokens + rollout.max_new_tokens ", budget, ", the context has ", limit);
  if (over > 0)
    out.error("prompt-too-long", message(text, "; ", over, " prompts do not fit, the first is ", first),
              "lower rollout.max_new_tokens, or set data.max_prompt_tokens with on_error: skip");
  else out.good("lengths", text);
}

void check_epochs(const Subject& s, Findings& out) {
  const TrainerOptions& t = s.recipe.trainer;
  const double rollouts = std::ceil(static_cast<double>(t.steps) / s.recipe.learner.updates_per_rollout);
  const double epochs = rollouts * t.prompts_per_rollout / static_cast<double>(s.prompts.size());
  const std::string text = message(with_commas(static_cast<std::int64_t>(s.prompts.size())), " prompts; the run shows each ", human_number(epochs, 3), " times");
  if (epochs > 30) out.warning("many-epochs", text, "more prompts, or fewer steps: answers will be learnt by heart");
  else out.good("prompts", text);
}

void check_evaluation(const Subject& s, Findings& out) {
  const std::size_t n = s.eval_prompts.size();
  if (n == 0) return;
  const Interval half = wilson_interval(static_cast<std::int64_t>(n / 2), static_cast<std::int64_t>(n));
  const std::string text = message(n, " evaluation prompts: at 50 % the 95 % interval is ", human_number(100 * half.low, 3), " to ", human_number(100 * half.high, 3), " %");
  if (n < 100) out.warning("eval-small", text, "changes below that are noise; use more prompts (300 give 5.6 points each way)");
  else out.good("evaluation", text);

  Decontaminator held_out{DecontaminateOptions{}};
  for (const Prompt& p : s.eval_prompts) held_out.add("eval", question_of(p, s.recipe.data.instruction));
  std::size_t hits = 0;
  std::string example;
  for (const Prompt& p : s.prompts) {
    const auto hit = held_out.find(question_of(p, s.recipe.data.instruction), "");
    if (hit && hits++ == 0) example = message(p.id, ": '", cut(hit->gram), "'");
  }
  if (hits == 0) {
    out.good("contamination", "no training prompt shares ten words in a row with an evaluation prompt");
    return;
  }
  const std::string what = message(share_text(hits, s.prompts.size()), " training prompts share ten words in a row (or all of a short one) with an evaluation prompt, the first is ", example);
  out.add(hits * 100 >= s.prompts.size() || hits * 20 >= n ? Level::kError : Level::kWarning, "contamination", what,
          "take these rows out of data.path; the evaluation would measure memory");
}

}  // namespace

std::vector<Prompt> load_prompts(const DataSection& data, const std::string& key, std::shared_ptr<const Tokenizer> tokenizer, const Rubric& rubric,
                                 Findings& out) {
  out.section("data");
  DataSection lenient = data;
  lenient.skip_bad_rows = true;
  RecipePrompts read;
  try {
    read = load_recipe_prompts(lenient, key, std::move(tokenizer), *detail::no_reward());
  } catch (const Error& e) {
    out.error("data-unreadable", e.what(), "data.prompt and data.answer name the columns; docs of `data:` list the usual ones");
    return {};
  }
  const std::size_t rows = read.prompts.size() + read.skipped.size();
  if (!read.skipped.empty())
    out.add(data.skip_bad_rows ? Level::kWarning : Level::kError, "bad-rows",
            message(key, ": ", share_text(read.skipped.size(), rows), " rows cannot be read, the first: ", read.skipped.front()),
            data.skip_bad_rows ? "they are left out (data.on_error: skip)" : "repair them, or data.on_error: skip leaves them out");
  const PromptCheck check = rubric.check_prompts(read.prompts);
  if (check.problems.empty()) {
    out.good("gold", message(key, ": every one of ", with_commas(static_cast<std::int64_t>(read.prompts.size())), " rows can be scored"));
    return std::move(read.prompts);
  }
  const bool all = check.problems.size() == read.prompts.size();
  out.add(all || !data.skip_bad_rows || check.problems.size() * 20 > rows ? Level::kError : Level::kWarning, "gold-unreadable",
          message(key, ": ", check.summary()),
          all ? "data.answer names the column of the gold answer; with none of the usual names it must be set" : "repair or remove these rows; data.on_error: skip leaves them out");
  std::vector<Prompt> kept;
  std::size_t next = 0;
  for (std::size_t i = 0; i < read.prompts.size(); ++i) {
    if (next < check.problems.size() && check.problems[next].index == i) ++next;
    else kept.push_back(std::move(read.prompts[i]));
  }
  return kept;
}

void check_data(const Subject& s, Findings& out) {
  out.section("data");
  if (s.prompts.empty()) return;
  check_golds(s, out);
  check_duplicates(s, out);
  check_lengths(s, out);
  check_epochs(s, out);
  check_evaluation(s, out);
}

}  // namespace r1::doctor
