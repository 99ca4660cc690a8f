// r1 score: rewards of completions that exist already.
#include <cstdio>

#include "apps/command.h"
#include "apps/reward_context.h"
#include "apps/score_file.h"
#include "core/compute_pool.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/signals.h"
#include "core/terminal.h"

namespace r1 {
namespace {

struct Args {
  ScoreFileOptions score;
  std::string recipe, tokenizer, on_error = "stop";
  std::vector<std::string> rewards;
  int max_new_tokens = 0;
  bool json = false;
};

Rubric make_score_rubric(Args& a) {
  if (!a.recipe.empty() && !a.rewards.empty()) throw ConfigError("--recipe names the rewards already; leave --rewards out");
  RewardContext context = reward_context();
  const Config config = rewards_config(a.recipe, a.rewards, context);
  ConfigReader root(config);
  if (a.max_new_tokens == 0) a.max_new_tokens = root.section("rollout").get<int>("max_new_tokens", 0);  // a recipe's
  context.max_new_tokens = a.max_new_tokens;
  std::vector<ConfigReader> entries = root.sections("rewards", "name");
  if (entries.empty()) throw ConfigError(message(a.recipe, " has no rewards"));
  Rubric rubric = make_rubric(entries, context);
  for (const ConfigReader& e : entries) e.finish();
  a.score.settings = message(root.get_json("rewards"), " ", a.max_new_tokens, " ", a.tokenizer);
  if (a.score.tokenizer) return rubric;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::string_view name = rubric.entries()[i].reward->name();
    const std::string unit = name == "length" || name == "repetition_penalty" ? "tokens" : "";
    const bool tokens = (!unit.empty() || name == "repetition") && entries[i].get<std::string>("unit", unit) == "tokens";
    if (tokens || name == "overlong" || name.starts_with("soft_overlong") || name == "cosine")
      throw ConfigError(message("reward ", name, " counts tokens; give --tokenizer DIR of the model that wrote the completions"));
  }
  return rubric;
}

void print_json(const ScoreSummary& s) {
  std::string out = message("{\"rows\":", s.rows, ",\"completions\":", s.completions, ",\"resumed\":", s.resumed, ",\"columns\":{");
  const char* comma = "";
  for (const auto& [name, c] : s.columns) {
    out += message(comma, json_quote(name), ":{\"mean\":", c.count ? json_number(c.sum / static_cast<double>(c.count)) : "null",
                   ",\"lowest\":", c.count ? json_number(c.lowest) : "null", ",\"highest\":", c.count ? json_number(c.highest) : "null",
                   ",\"abstained\":", c.abstained, "}");
    comma = ",";
  }
  out += "},\"verdicts\":{";
  comma = "";
  for (const auto& [word, n] : s.verdicts) {
    out += message(comma, json_quote(word), ":", n);
    comma = ",";
  }
  std::printf("%s}}\n", out.c_str());
}

}  // namespace

void add_score(CLI::App& app, const Globals& globals, int&) {
  auto args = std::make_shared<Args>();
  ScoreFileOptions& s = args->score;
  CLI::App* cmd = app.add_subcommand("score", "score completions that exist already: rows in, the same rows with rewards out");
  cmd->add_option("file", s.data.paths, "JSON lines file(s), also .gz and .zst")->required();
  cmd->add_option("--out,-o", s.out, "JSON lines with reward, reward.NAME, verdict, detail, score_columns")->required();
  cmd->add_option("--rewards", args->rewards, "comma-separated names (default: math), also python:FILE:FUNCTION, command:PROGRAM")->delimiter(',');
  cmd->add_option("--recipe", args->recipe, "take the rewards of this recipe");
  cmd->add_option("--completion", s.completion_column, "column of the completion or completions (default: the usual names)");
  cmd->add_option("--prompt", s.data.prompt_column, "column of the prompt (default: the usual names)");
  cmd->add_option("--answer", s.data.answer_column, "column of the gold answer (default: the usual names)");
  cmd->add_option("--tokenizer", args->tokenizer, "model directory whose tokenizer counts tokens, for length rewards");
  cmd->add_option("--max-new-tokens", args->max_new_tokens, "token budget of the run that wrote the completions, for overlong rewards (default: the recipe's)")
      ->check(CLI::PositiveNumber);
  cmd->add_option("--limit", s.data.limit, "the first so many rows")->check(CLI::NonNegativeNumber);
  cmd->add_option("--on-error", args->on_error, "rows that cannot be scored: stop (default) or score (they abstain)")
      ->check(CLI::IsMember({"stop", "score"}));
  cmd->add_flag("--json", args->json, "print the summary as one JSON object");
  cmd->footer("Example: r1 score answers.jsonl --rewards math,format -o scored.jsonl\nA stopped call goes on where it was when it is given again.");
  cmd->callback([args, &globals] {
    install_stop_signals();
    ScoreFileOptions& o = args->score;
    if (!args->tokenizer.empty()) o.tokenizer = Tokenizer::load(args->tokenizer);
    o.score_bad_rows = args->on_error == "score";
    o.threads = globals.threads > 0 ? globals.threads : usable_cores();
    const Rubric rubric = make_score_rubric(*args);
    Terminal::Options t;
    t.quiet = globals.quiet;
    Terminal terminal(t);
    const ScoreSummary summary = score_file(rubric, o, [&](std::int64_t done, std::int64_t total) {
      if (done % 64 == 0) terminal.set_status(message("scored ", done, " of ", total, " rows"));
    });
    terminal.set_status("");
    if (!summary.bad_rows.empty()) terminal.print("warning: " + summary.bad_rows, true);
    if (summary.resumed > 0) terminal.print(message(summary.resumed, " rows were scored before"));
    if (args->json) return print_json(summary);
    std::printf("%s", summary.table().c_str());
  });
}

}  // namespace r1
