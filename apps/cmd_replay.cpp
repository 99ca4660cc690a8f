// r1 replay and r1 reward-diff: recorded rollouts looked at again, without a model or a GPU.
#include <algorithm>
#include <cstdio>
#include <memory>

#include "apps/command.h"
#include "apps/reward_context.h"
#include "apps/run_tokenizer.h"
#include "core/compute_pool.h"
#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/json_text.h"
#include "core/signals.h"
#include "core/terminal.h"
#include "core/thread_pool.h"
#include "replay/recorded_run.h"
#include "replay/reward_diff.h"
#include "replay/sample_text.h"

namespace r1 {
namespace {

// "recorded" (null), a recipe's file, YAML of one reward or a list of them, or comma-separated names.
std::unique_ptr<Rubric> rubric_of(const std::string& text, const RecordedRun& run) {
  if (text == "recorded") return nullptr;
  RewardContext context = reward_context();
  if (const auto budget = run.config().peek("rollout.max_new_tokens")) context.max_new_tokens = std::stoll(*budget);
  const bool yaml = text.starts_with("{") || text.starts_with("["), file = text.ends_with(".yaml") || text.ends_with(".yml");
  std::vector<std::string> names;
  for (std::size_t begin = 0; !yaml && !file && begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    names.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  const Config config = yaml ? Config::parse("rewards: " + (text[0] == '{' ? "[" + text + "]" : text) + "\n", "rewards") : rewards_config(file ? text : "", names, context);
  ConfigReader root(config);
  std::vector<ConfigReader> entries = root.sections("rewards", "name");
  if (entries.empty()) throw ConfigError(message(text, " has no rewards"));
  auto rubric = std::make_unique<Rubric>(make_rubric(entries, context));
  for (const ConfigReader& e : entries) e.finish();
  return rubric;
}

constexpr const char* kRewardsHelp = "recorded, a recipe's file, names (math,format), or YAML: '{name: math, extract: boxed}'";

struct ReplayArgs {
  std::string run, prompt, rewards;
  std::int64_t step = -1, sample = 0;
  std::size_t tokens = 400;
};

void replay(const ReplayArgs& args) {
  const RecordedRun run(args.run);
  const auto steps = run.rollouts();
  const RecordedRollout rollout = run.rollout(args.step < 0 && !steps.empty() ? steps.back() : args.step);
  const std::vector<RecordedUpdate> updates = run.updates(rollout);
  SampleView view{rollout, updates, find_sample(rollout, args.prompt, args.sample)};
  view.max_tokens = args.tokens;
  const auto tokenizer = run_tokenizer(run);
  view.tokenizer = tokenizer.get();
  std::optional<Recipe> recipe;
  try {
    recipe = make_recipe(portable_config(run));
    view.recipe = &*recipe;
  } catch (const ConfigError& e) {
    std::fprintf(stderr, "r1: warning: no loss is computed: %s\n", e.what());
  }
  std::vector<Score> rescored;
  if (!args.rewards.empty()) {
    if (const auto rubric = rubric_of(args.rewards, run)) {
      rescored = rubric->score(rollout.groups[view.place.group].scored.group);
      view.rescored = &rescored;
    }
  }
  std::fputs(sample_text(view).c_str(), stdout);
}

struct DiffArgs {
  std::string run, before, after, out;
  std::size_t shown = 20;
  bool json = false;
};

std::string flip_text(const RewardFlip& f) {
  const auto read = [](const Score& s) {
    const auto it = s.columns.find("answer_parsed");
    return it == s.columns.end() ? s.detail : "read " + it->second;
  };
  std::string end = f.completion->text.size() > 160 ? "..." + f.completion->text.substr(f.completion->text.size() - 160) : f.completion->text;
  std::replace(end.begin(), end.end(), '\n', ' ');
  return message("step ", f.step, "  ", f.prompt->id, "/", f.sample, "  ", to_string(f.before->verdict), " (", read(*f.before), ") -> ", to_string(f.after->verdict), " (", read(*f.after),
                 ")  reward ", human_number(f.before->value), " -> ", human_number(f.after->value), "  gold ", f.prompt->reference, "\n    ", end);
}

void reward_diff(const DiffArgs& args, const Globals& globals) {
  const RecordedRun run(args.run);
  const auto before = rubric_of(args.before, run), after = rubric_of(args.after, run);
  std::optional<File> out;
  if (!args.out.empty()) {
    out.emplace(args.out, File::Mode::kAppend);
    out->truncate(0);
  }
  Terminal::Options screen;
  screen.quiet = globals.quiet;
  Terminal terminal(screen);
  ThreadPool pool(globals.threads > 0 ? globals.threads : usable_cores());
  RewardDiff diff;
  std::size_t shown = 0;
  const auto score = [](const Rubric* rubric, const ScoredGroup& g) { return rubric ? rubric->score(g.group) : g.scores; };
  const bool recorded = run.each_rollout([&](const RecordedRollout& rollout) {
    throw_if_stopped();
    std::vector<std::future<std::pair<std::vector<Score>, std::vector<Score>>>> scores;
    for (const RecordedGroup& g : rollout.groups)
      scores.push_back(pool.submit([&] { return std::pair(score(before.get(), g.scored), score(after.get(), g.scored)); }));
    for (auto& s : scores) s.wait();  // an error must not leave tasks behind that read the rollout
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const auto [old, now] = scores[i].get();
      diff.add(rollout.step, rollout.groups[i].scored.group, old, now, [&](const RewardFlip& f) {
        if (out) out->write(flip_json(f));
        if (!args.json && shown++ < args.shown) std::printf("%s\n", flip_text(f).c_str());
      });
    }
    terminal.set_status(message("step ", rollout.step, ": ", diff.completions, " completions, ", diff.flips, " flips"));
  });
  terminal.set_status("");
  if (out) out->sync();
  if (!recorded) terminal.print(message("warning: ", args.run, " has no recorded rollouts; only the transcripts in samples/ are compared, without the rows' columns"), true);
  if (diff.completions == 0) throw DataError(message(args.run, " holds no completions: output.record_gb and output.samples_every were 0, or nothing was sampled yet"));
  if (args.json) {
    std::string moves;
    for (const auto& [move, n] : diff.moves) moves += message(moves.empty() ? "" : ",", json_quote(message(to_string(move.first), " -> ", to_string(move.second))), ":", n);
    std::printf("{\"groups\":%lld,\"completions\":%lld,\"flips\":%lld,\"values\":%lld,\"reward_old\":%s,\"reward_new\":%s,\"signal_old\":%lld,\"signal_new\":%lld,\"moves\":{%s}}\n",
                static_cast<long long>(diff.groups), static_cast<long long>(diff.completions), static_cast<long long>(diff.flips), static_cast<long long>(diff.values),
                json_number(diff.before / static_cast<double>(diff.completions)).c_str(), json_number(diff.after / static_cast<double>(diff.completions)).c_str(),
                static_cast<long long>(diff.signal_before), static_cast<long long>(diff.signal_after), moves.c_str());
    return;
  }
  if (shown > args.shown) std::printf("... and %zu more (--show N, or --out FILE for all)\n", shown - args.shown);
  std::printf("%s", diff.text().c_str());
}

}  // namespace

void add_replay(CLI::App& app, const Globals& globals, int&) {
  auto args = std::make_shared<ReplayArgs>();
  CLI::App* cmd = app.add_subcommand("replay", "one recorded sample: tokens, log-probabilities, what was read and paid, what the updates did with it");
  cmd->add_option("run", args->run, "a run folder")->required();
  cmd->add_option("--step", args->step, "an update of the rollout (default: the last recorded one)");
  cmd->add_option("--sample", args->sample, "of the rollout, from 0; with --prompt: of that prompt")->check(CLI::NonNegativeNumber);
  cmd->add_option("--prompt", args->prompt, "id of the sample's prompt");
  cmd->add_option("--rewards", args->rewards, std::string("score the group by other rewards too: ") + kRewardsHelp);
  cmd->add_option("--tokens", args->tokens, "lines of the token table, 0 = all (400)");
  cmd->footer("Example: r1 replay runs/quickstart --step 12 --sample 3 --rewards '{name: math, extract: boxed}'");
  cmd->callback([args] { replay(*args); });

  auto diff = std::make_shared<DiffArgs>();
  cmd = app.add_subcommand("reward-diff", "every verdict of a recorded run that a changed reward flips");
  cmd->add_option("run", diff->run, "a run folder")->required();
  cmd->add_option("old", diff->before, kRewardsHelp)->required();
  cmd->add_option("new", diff->after, kRewardsHelp)->required();
  cmd->add_option("--out,-o", diff->out, "all flips as JSON lines");
  cmd->add_option("--show", diff->shown, "flips that are printed (20)");
  cmd->add_flag("--json", diff->json, "print the summary as one JSON object");
  cmd->footer("Example: r1 reward-diff runs/zero recorded new_rewards.yaml -o flips.jsonl");
  cmd->callback([diff, &globals] {
    install_stop_signals();
    reward_diff(*diff, globals);
  });
}

}  // namespace r1
