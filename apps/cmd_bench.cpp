// r1 bench: speed on this machine, one JSON line a case, with the floor beside it.
#include <iostream>

#include "apps/bench_train.h"
#include "apps/command.h"
#include "apps/runtime.h"
#include "core/error.h"
#include "rollout/rollout_bench.h"

namespace r1 {

void add_bench(CLI::App& app, const Globals& globals, int&) {
  struct Args {
    std::string model, dtype = "bfloat16";
    std::vector<int> batches;
    int rollout_samples = 1;
    int prompt_tokens = 64, new_tokens = 64, repeats = 3;
    TrainBenchCase train;
    TrainBenchOptions options;
    bool repeat_prompts = false;
  };
  auto args = std::make_shared<Args>();
  CLI::App* bench = app.add_subcommand("bench", "measure rollout, training or a whole step; prints one JSON line a case");
  bench->require_subcommand(1);
  const auto common = [&](CLI::App* cmd) {
    cmd->add_option("--model,-m", args->model, "model directory, GGUF file or hub name")->required();
    cmd->add_option("--dtype", args->dtype, "bfloat16 (default) or float32");
    cmd->add_option("--prompt-tokens", args->prompt_tokens, "default 64")->check(CLI::PositiveNumber);
    cmd->add_option("--new-tokens", args->new_tokens, "default 64")->check(CLI::PositiveNumber);
    cmd->add_option("--repeats", args->repeats, "timed runs after one warm-up; the median counts (default 3)")->check(CLI::PositiveNumber);
  };
  const auto steps = [&](CLI::App* cmd) {
    cmd->add_option("--prompts", args->train.prompts, "default 4")->check(CLI::PositiveNumber);
    cmd->add_option("--samples", args->train.samples, "completions a prompt (default 8)")->check(CLI::PositiveNumber);
    cmd->add_option("--tokens-per-micro-batch", args->options.tokens_per_micro_batch, "default 4096")->check(CLI::PositiveNumber);
    cmd->add_flag("--recompute", args->options.recompute, "gradient checkpointing");
    cmd->add_flag("--repeat-prompts", args->repeat_prompts, "every sample computes its prompt, as peers do");
  };
  CLI::App* rollout = bench->add_subcommand("rollout", "generation: tokens/s by batch");
  common(rollout);
  rollout->add_option("--batch", args->batches, "sequences (default 1,8,32,64)")->delimiter(',');
  rollout->add_option("--samples", args->rollout_samples, "completions a prompt, which share its cache (default 1)")->check(CLI::PositiveNumber);
  rollout->callback([args, &globals] {
    Runtime run = open_model(args->model, parse_dtype(args->dtype), globals.threads);
    std::vector<RolloutBenchCase> cases;
    for (int b : args->batches.empty() ? std::vector<int>{1, 8, 32, 64} : args->batches) {
      const int samples = b < args->rollout_samples ? b : args->rollout_samples;
      if (b % samples != 0) throw ConfigError(message("--batch ", b, " is no multiple of --samples ", samples));
      cases.push_back({b, args->prompt_tokens, args->new_tokens, samples});
    }
    RolloutBenchOptions options;
    options.repeats = args->repeats;
    run_rollout_bench(*run.model, run.tokenizer, cases, options, std::cout);
  });
  const auto run_steps = [args, &globals](auto&& what) {
    Runtime run = open_model(args->model, parse_dtype(args->dtype), globals.threads);
    args->train.prompt_tokens = args->prompt_tokens;
    args->train.new_tokens = args->new_tokens;
    args->options.repeats = args->repeats;
    args->options.share_prompts = !args->repeat_prompts;
    what(run, args->train, args->options, std::cout);
  };
  CLI::App* train = bench->add_subcommand("train", "one update of the learner");
  common(train), steps(train);
  train->callback([run_steps] { run_steps(run_train_bench); });
  CLI::App* grpo = bench->add_subcommand("grpo", "a whole step: rollout and update");
  common(grpo), steps(grpo);
  grpo->callback([run_steps] { run_steps(run_grpo_bench); });
  bench->footer("Example: r1 bench rollout -m models/SmolLM2-135M-Instruct --batch 1,64");
}

}  // namespace r1
