// r1 bench: speed on this machine, one JSON line a case, with the floor beside it.
#include <iostream>

#include "apps/bench_async.h"
#include "apps/bench_rewards.h"
#include "apps/bench_train.h"
#include "apps/command.h"
#include "apps/runtime.h"
#include "bench/kernel_cases.h"
#include "core/error.h"
#include "core/suggest.h"
#include "kernels/gpu/device.h"
#include "model/model_shapes.h"
#include "rollout/rollout_bench.h"

namespace r1 {
namespace {

void add_kernel_bench(CLI::App& bench, const int& threads) {
  struct Args {
    KernelBenchOptions options;
    std::string device = "auto", shape;
    std::vector<std::int64_t> rows;
  };
  auto args = std::make_shared<Args>();
  CLI::App* kernels = bench.add_subcommand("kernels", "each kernel alone, beside what this machine can do");
  kernels->add_option("--device", args->device, "auto (default: the GPU if there is one), cpu or cuda");
  kernels->add_option("--only", args->options.only, "only cases whose name holds this text");
  kernels->add_option("--shape", args->shape, "of the GPU's cases (default qwen2.5-0.5b): " + join_names(model_shape_names()));
  kernels->add_option("--rows", args->rows, "of the GPU's products and attention (default 1,8,64,256)")->delimiter(',')->check(CLI::Range(1, 512));
  kernels->add_flag("--tiles", args->options.tiles, "each tile of the GPU's products for few rows, not only the chosen one");
  kernels->add_option("--isa", args->options.isa, "of the CPU: portable, avx2, avx512, avx512-bf16 or amx (default: the best here)");
  kernels->add_option("--seconds", args->options.seconds, "for each case of the CPU (default 0.25)")->check(CLI::Range(0.01, 60.0));
  kernels->footer("Example: r1 bench kernels --only gemm --threads 2\n         r1 bench kernels --device cuda --only product --rows 1,64 --tiles");
  kernels->callback([args, &threads] {
    KernelBenchOptions& o = args->options;
    o.threads = threads;
    if (!args->rows.empty()) o.rows = args->rows;
    if (!args->shape.empty()) {
      const ModelConfig c = model_shape(args->shape);
      o.hidden = c.hidden_size, o.intermediate = c.intermediate_size, o.vocabulary = c.vocab_size;
      o.heads = c.num_attention_heads, o.kv_heads = c.num_key_value_heads, o.head_dim = c.head_dim;
    }
    if (choose_device(args->device, DType::kBF16) == DeviceKind::kGpu) bench_gpu_kernels(o);
    else bench_cpu_kernels(o);
  });
}

}  // namespace

void add_bench(CLI::App& app, const Globals& globals, int&) {
  struct Args {
    std::string model, shape, dtype = "bfloat16", device = "auto";
    std::vector<int> batches;
    int rollout_samples = 1;
    bool speculative = false;
    int prompt_tokens = 64, new_tokens = 64, repeats = 3;
    TrainBenchCase train;
    TrainBenchOptions options;
    AsyncBenchCase async;
    bool repeat_prompts = false;
    std::string master = "auto", moments = "auto", gradients = "auto", offload = "none";
    double memory_gb = 0;
  };
  auto args = std::make_shared<Args>();
  CLI::App* bench = app.add_subcommand("bench", "measure rollout, training, a whole step, kernels, rewards or the sandbox; prints one JSON line a case");
  bench->require_subcommand(1);
  const auto common = [&](CLI::App* cmd) {
    cmd->add_option("--model,-m", args->model, "model directory, GGUF file or hub name");
    cmd->add_option("--shape", args->shape, "random weights of a known shape instead: " + join_names(model_shape_names()));
    cmd->add_option("--device", args->device, "auto (default: the GPU if there is one), cpu or cuda");
    cmd->add_option("--dtype", args->dtype, "bfloat16 (default) or float32");
    cmd->add_option("--memory-gb", args->memory_gb, "GiB that the GPU is treated as having (default: all)")->check(CLI::PositiveNumber);
    cmd->add_option("--prompt-tokens", args->prompt_tokens, "default 64")->check(CLI::PositiveNumber);
    cmd->add_option("--new-tokens", args->new_tokens, "default 64")->check(CLI::PositiveNumber);
    cmd->add_option("--repeats", args->repeats, "timed runs after one warm-up; the median counts (default 3)")->check(CLI::PositiveNumber);
  };
  const auto steps = [&](CLI::App* cmd) {
    cmd->add_option("--prompts", args->train.prompts, "default 4")->check(CLI::PositiveNumber);
    cmd->add_option("--samples", args->train.samples, "completions a prompt (default 8)")->check(CLI::PositiveNumber);
    cmd->add_option("--tokens-per-micro-batch", args->options.tokens_per_micro_batch, "default 4096 on the CPU, 16384 on the GPU")->check(CLI::PositiveNumber);
    cmd->add_flag("--recompute", args->options.recompute, "gradient checkpointing");
    cmd->add_option("--master", args->master, "of the GPU: auto (default: by memory), float32 or split");
    cmd->add_option("--moments", args->moments, "of the GPU: auto, float32 or 8bit");
    cmd->add_option("--offload", args->offload, "of the GPU: none (default), or optimizer: master and moments in the host's memory");
    cmd->add_option("--gradients", args->gradients, "of the GPU: auto, float32 or bfloat16");
    cmd->add_flag("--repeat-prompts", args->repeat_prompts, "every sample computes its prompt, as peers do");
  };
  const auto open = [args, &globals] {
    if (args->model.empty() == args->shape.empty()) throw ConfigError("r1 bench needs either --model or --shape");
    const DType dtype = parse_dtype(args->dtype);
    if (args->memory_gb > 0) gpu::limit_memory(static_cast<std::size_t>(args->memory_gb * 1073741824.0));
    return args->shape.empty() ? open_model(args->model, dtype, globals.threads, args->device) : open_shape(args->shape, dtype, globals.threads, args->device);
  };
  CLI::App* rollout = bench->add_subcommand("rollout", "generation: tokens/s by batch");
  common(rollout);
  rollout->add_option("--batch", args->batches, "sequences (default 1,8,32,64)")->delimiter(',');
  rollout->add_option("--samples", args->rollout_samples, "completions a prompt, which share its cache (default 1)")->check(CLI::PositiveNumber);
  rollout->add_flag("--speculative", args->speculative, "drafts by the model's prediction layer too, and which share of them must hold to pay (CPU)");
  rollout->callback([args, open] {
    const Runtime run = open();
    std::vector<RolloutBenchCase> cases;
    for (int b : args->batches.empty() ? std::vector<int>{1, 8, 32, 64} : args->batches) {
      const int samples = b < args->rollout_samples ? b : args->rollout_samples;
      if (b % samples != 0) throw ConfigError(message("--batch ", b, " is no multiple of --samples ", samples));
      cases.push_back({b, args->prompt_tokens, args->new_tokens, samples, args->speculative});
    }
    if (args->speculative && run.backend->device() != "cpu") throw ConfigError("--speculative: drafts are made on the CPU only; use --device cpu");
    run.backend->bench_rollout(run.path.filename().string(), cases, args->repeats, std::cout);
  });
  const auto run_steps = [args, open](auto what) {
    args->options.optimizer = {parse_master_format(args->master), parse_moment_format(args->moments), parse_gradient_format(args->gradients), false, parse_offload(args->offload)};
    const Runtime run = open();
    args->train.prompt_tokens = args->prompt_tokens;
    args->train.new_tokens = args->new_tokens;
    args->options.repeats = args->repeats;
    args->options.share_prompts = !args->repeat_prompts;
    (run.backend.get()->*what)(run.path.filename().string(), args->train, args->options, std::cout);
  };
  CLI::App* train = bench->add_subcommand("train", "one update of the learner");
  common(train), steps(train);
  train->callback([run_steps] { run_steps(&Backend::bench_train); });
  CLI::App* grpo = bench->add_subcommand("grpo", "a whole step: rollout and update");
  common(grpo), steps(grpo);
  grpo->callback([run_steps] { run_steps(&Backend::bench_grpo); });
  CLI::App* async = bench->add_subcommand("async", "steps of the trainer, rollout and learning in turns and side by side");
  common(async), steps(async);
  async->add_option("--staleness", args->async.staleness, "rl.max_staleness of each case (default 0,1)")->delimiter(',');
  async->add_option("--updates", args->async.updates, "a rollout (default 1)")->check(CLI::PositiveNumber);
  async->add_flag("--free", args->async.free_running, "weights change within a rollout too");
  async->add_option("--reward-ms", args->async.reward_ms, "that scoring one completion takes (default 0)")->check(CLI::NonNegativeNumber);
  async->add_option("--reward-threads", args->async.reward_threads, "that score (default 1)")->check(CLI::Range(1, 256));
  async->add_flag("--whole-groups", args->async.whole_groups, "completions are scored with their group, not as they end");
  async->callback([args, open] {
    args->options.optimizer = {parse_master_format(args->master), parse_moment_format(args->moments), parse_gradient_format(args->gradients), false, parse_offload(args->offload)};
    args->options.repeats = args->repeats;
    args->async.batch = args->train;
    args->async.batch.prompt_tokens = args->prompt_tokens, args->async.batch.new_tokens = args->new_tokens;
    run_async_bench(open, args->async, args->options, std::cout);
  });
  add_kernel_bench(*bench, globals.threads);
  add_reward_benches(*bench, globals.threads);
  bench->footer("Example: r1 bench rollout -m models/SmolLM2-135M-Instruct --batch 1,64\n         r1 bench grpo --shape qwen2.5-0.5b --device cuda --prompts 32 --prompt-tokens 128 --new-tokens 512");
}

}  // namespace r1
