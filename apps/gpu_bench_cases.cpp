#include "apps/gpu_bench_cases.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ostream>

#include <cuda_profiler_api.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/format.h"
#include "core/rng.h"
#include "kernels/gpu/device.h"
#include "rl/gpu_memory_plan.h"
#include "rl/gpu_policy.h"
#include "rl/learner.h"
#include "rollout/gpu_step_device.h"
#include "rollout/pipelined_engine.h"
#include "rollout/rollout_bench.h"

namespace r1 {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}
std::vector<TokenId> random_tokens(StreamRng& rng, int n, std::int64_t vocab) {
  std::vector<TokenId> out;
  for (int i = 0; i < n; ++i) out.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
  return out;
}

double measured_flops(GpuTransformer& model) {
  constexpr std::int64_t n = 8192;
  gpu::DeviceMemory a(n * n * 2), b(n * n * 2), c(n * n * 2);
  // Random numbers: zeros run faster than real data.
  gpu::copy_on_device(model.stream(), a.data(), model.weights().data(), std::min<std::size_t>(a.bytes(), static_cast<std::size_t>(model.weights().elements()) * 2));
  gpu::copy_on_device(model.stream(), b.data(), model.weights().data(), std::min<std::size_t>(b.bytes(), static_cast<std::size_t>(model.weights().elements()) * 2));
  gpu::Event begin, end;
  double best = 1e9;
  for (int i = 0; i < 6; ++i) {
    begin.record(model.stream());
    model.blas().forward(model.stream(), {a.as<gpu::bf16>(), n}, {b.as<gpu::bf16>(), n}, n, n, n, c.data(), n, gpu::Out::kBf16);
    end.record(model.stream());
    end.synchronize();
    if (i > 0) best = std::min(best, static_cast<double>(end.ms_since(begin)) / 1e3);
  }
  return 2.0 * n * n * n / best;
}

std::vector<RolloutRequest> make_requests(const GpuBenchCase& c, std::int64_t vocab, std::uint64_t run) {
  StreamRng rng(9, run);
  std::vector<RolloutRequest> requests(static_cast<std::size_t>(c.sequences / c.samples));
  for (std::size_t p = 0; p < requests.size(); ++p) {
    requests[p].prompt.id = message("bench-", p);
    requests[p].prompt.tokens = random_tokens(rng, c.prompt, vocab);
    requests[p].samples = c.samples;
    requests[p].sampling.max_new_tokens = c.new_tokens;
    requests[p].sampling.ignore_eos = true;
    requests[p].key = {1, run, p, 0};
  }
  return requests;
}

std::vector<TrainSample> make_samples(const std::vector<SampleGroup>& groups, bool share_prompts) {
  std::vector<TrainSample> samples;
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (std::size_t i = 0; i < groups[g].completions.size(); ++i) {
      const Completion& c = groups[g].completions[i];
      TrainSample s;
      s.name = message("bench-", g, "/", i);
      s.tokens = groups[g].prompt.tokens;
      s.prompt_length = static_cast<std::int32_t>(s.tokens.size());
      s.tokens.insert(s.tokens.end(), c.tokens.begin(), c.tokens.end());
      s.group = share_prompts ? g : samples.size();
      s.loss_mask.assign(s.tokens.size(), 1);
      std::fill_n(s.loss_mask.begin(), static_cast<std::size_t>(s.prompt_length), std::uint8_t{0});
      s.behavior_logprobs.assign(s.tokens.size(), 0.f);
      std::copy(c.logprobs.begin(), c.logprobs.end(), s.behavior_logprobs.begin() + s.prompt_length);
      s.advantages.assign(s.tokens.size(), i % 2 == 0 ? 1.f : -1.f);  // none is 0, so that nothing is left out
      samples.push_back(std::move(s));
    }
  return samples;
}

}  // namespace

void run_gpu_bench(GpuTransformer& model, const GpuBenchCase& c, std::ostream& out) {
  if (c.samples < 1 || c.sequences < c.samples || c.sequences % c.samples != 0)
    throw ConfigError(message(c.sequences, " sequences of ", c.samples, " samples a prompt; choose a multiple"));
  const double bandwidth = gpu::measured_bandwidth();
  const ModelConfig& m = model.config();
  const double flops = measured_flops(model);
  const bool trains = c.what != "rollout";
  if (trains && !model.shape().learns) throw ConfigError(message("the GPU's learner does not know all of a ", m.model_type, " model; bench its rollout, or use --device cpu"));
  const gpu::DeviceInfo info = gpu::device_info();
  const std::size_t reserve = std::size_t{2} << 30;
  OptimizerFormat format;
  std::size_t optimizer = 0;
  if (trains) {
    GpuRegion none;
    const std::int64_t rows = std::min(c.micro_batch, kFewRows);
    const std::size_t others = reserve + GpuTraining(model, none).bytes_needed(rows, rows, {GpuTraining::HeadKind::kLogprobs, true, c.recompute.value_or(true)});
    format = choose_optimizer_format(c.optimizer, model.weights().elements(), static_cast<std::int64_t>(model.weights().parameters().size()),
                                     info.memory_free > others ? info.memory_free - others : 0);
    optimizer = GpuPolicy::optimizer_bytes(model.weights(), format);
  }
  if (info.memory_free < optimizer + reserve + (reserve >> 2))
    throw ConfigError(message("not enough GPU memory: ", human_bytes(info.memory_free), " free, ", to_string(format), " take ", human_bytes(optimizer),
                              " and ", human_bytes(reserve), " are left alone; use other formats, a smaller model or a larger GPU"));
  const gpu::DeviceMemory memory(info.memory_free - optimizer - reserve);
  GpuRegion region(memory);
  GpuStepOptions step_options;
  step_options.max_decode_rows = std::max(64, c.sequences);
  step_options.graphs = std::getenv("R1_BENCH_EAGER") == nullptr;  // a profiler wants single kernels
  GpuStepDevice device(model, region, step_options);
  LocalEngineOptions engine_options;
  engine_options.max_rows = c.sequences;
  engine_options.prefill_tokens_per_step = step_options.max_prefill_rows;
  PipelinedEngine engine(device, nullptr, engine_options);
  nlohmann::ordered_json row = {{"bench", c.what}, {"device", info.name}, {"model", c.model}, {"parameters", m.num_parameters()},
                                {"sequences", c.sequences}, {"samples_per_prompt", c.samples}, {"prompt_tokens", c.prompt}, {"new_tokens", c.new_tokens},
                                {"bandwidth_gb_s", bandwidth / 1e9}, {"tflop_s", flops / 1e12}};
  row["kv_bytes_per_token"] = model.shape().kv_bytes_per_token();
  if (m.moe) row["active_parameters"] = m.num_active_parameters(), row["distinct_experts"] = distinct_experts(*m.moe, c.sequences);
  const double generated = double(c.sequences) * c.new_tokens;
  const RolloutBenchCase floor_case{c.sequences, c.prompt, c.new_tokens, c.samples};
  const double floor = rollout_floor_seconds(m, 2, floor_case, bandwidth, flops);
  if (!trains) {
    std::vector<double> times;
    for (int r = 0; r <= c.repeats; ++r) {
      auto requests = make_requests(c, m.vocab_size, static_cast<std::uint64_t>(r));
      if (r == c.repeats) cudaProfilerStart();  // for a profiler told to wait for it: the last run alone
      const double start = now();
      const auto groups = generate(engine, std::move(requests));
      if (r > 0) times.push_back(now() - start);
      if (r == c.repeats) cudaProfilerStop();
      for (const auto& g : groups)
        for (const auto& s : g.completions) R1_CHECK(static_cast<int>(s.tokens.size()) == c.new_tokens, "a completion of ", s.tokens.size(), " tokens");
    }
    row["seconds"] = median(times), row["runs_s"] = times, row["tok_s"] = generated / median(times);
    row["floor_s"] = floor, row["roofline_pct"] = 100 * floor / median(times);
    row["memory_used_gb"] = double(gpu::used_bytes()) / (1 << 30);
    row["kv_gb"] = double(engine.stats().kv_blocks_peak) * double(device.page_bytes()) / 1e9;
    out << row.dump() << std::endl;
    return;
  }
  const bool recompute = c.recompute.value_or(GpuTraining(model, region).bytes_needed(c.micro_batch, c.micro_batch, {GpuTraining::HeadKind::kLogprobs, true, false}) > memory.bytes());
  GpuPolicy policy(model, region, {recompute, MasterStart::kExact, format});
  row["optimizer"] = to_string(format), row["optimizer_gb"] = double(optimizer) / (1 << 30), row["recompute"] = recompute;
  GrpoOptions options;
  options.optimizer.learning_rate.peak = 1e-6;
  options.tokens_per_micro_batch = c.micro_batch;
  GrpoLearner learner(policy, nullptr, options);
  std::vector<double> step, gen, begin, update;
  double mismatch = 0;
  std::vector<SampleGroup> made;
  for (int r = 0; r <= c.repeats; ++r) {
    const double start = now();
    if (c.what == "grpo" || r == 0) {
      made = generate(engine, make_requests(c, m.vocab_size, static_cast<std::uint64_t>(r)));
    }
    const double t1 = now();
    auto samples = make_samples(made, c.share_prompts);
    learner.begin_rollout(std::move(samples), static_cast<std::uint64_t>(r));
    const double t2 = now();
    const StepReport report = learner.update();
    model.synchronize();
    const double t3 = now();
    engine.load_weights(learner.publish());
    const double t4 = now();
    if (const auto it = report.metrics.find("mismatch/max_abs_logp"); it != report.metrics.end() && (c.what == "grpo" || r == 0)) mismatch = std::max(mismatch, it->second);
    if (r == 0) continue;
    gen.push_back(t1 - start), begin.push_back(t2 - t1), update.push_back(t3 - t2), step.push_back(t4 - start);
  }
  const double groups = double(c.sequences) / c.samples;
  const double computed = (c.share_prompts ? groups : double(c.sequences)) * c.prompt + double(c.sequences) * c.new_tokens, counted = double(c.sequences) * (c.prompt + c.new_tokens);
  const double head = double(m.vocab_size * m.hidden_size), body = double(m.num_parameters()) - head * (m.tie_word_embeddings ? 1 : 2);
  const double mean_context = 0.5 * (c.prompt + c.new_tokens);
  const double attention = 4.0 * double(m.num_hidden_layers * m.num_attention_heads * m.head_dim) * mean_context;
  const double work = 3 * (computed * (2 * body + attention) + generated * 2 * head);
  row["update_s"] = median(update), row["updates_s"] = update;
  row["train_tok_s"] = counted / median(update), row["train_tok_s_computed"] = computed / median(update);
  row["train_tflop_s"] = work / median(update) / 1e12, row["mfu_pct"] = 100 * work / median(update) / flops;
  row["micro_batch"] = learner.options().tokens_per_micro_batch;
  row["memory_used_gb"] = double(gpu::used_bytes()) / (1 << 30);
  row["mismatch_max_abs_logp"] = mismatch;
  if (c.what == "grpo") {
    row["step_s"] = median(step), row["generate_s"] = median(gen), row["prepare_s"] = median(begin);
    row["generate_tok_s"] = generated / median(gen), row["generate_roofline_pct"] = 100 * floor / median(gen);
  }
  // The optimizer alone: norm, update, check.
  AdamWStep adam;
  adam.learning_rate = 1e-9;
  std::vector<double> adam_times;
  for (int r = 0; r < 6; ++r) {
    model.synchronize();
    const double start = now();
    policy.gradient_sum_of_squares();
    policy.adamw(adam);
    policy.find_non_finite(ParameterPart::kMaster);
    adam_times.push_back(now() - start);
  }
  row["optimizer_ms"] = 1e3 * median(adam_times), row["optimizer_floor_ms"] = 1e3 * format.step_bytes(m.num_parameters()) / bandwidth;
  row["memory_peak_gb"] = double(gpu::peak_bytes()) / (1 << 30), row["memory_total_gb"] = double(info.memory_total) / (1 << 30);
  out << row.dump() << std::endl;
}

}  // namespace r1
