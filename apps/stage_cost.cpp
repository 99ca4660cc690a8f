#include "apps/stage_cost.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "core/compute_pool.h"
#include "core/error.h"
#include "core/format.h"
#include "core/memory.h"
#include "core/suggest.h"
#include "kernels/gpu/device.h"
#include "model/activation_bytes.h"
#include "model/model_shapes.h"
#include "rl/gpu_memory_plan.h"
#include "rollout/rollout_bench.h"

namespace r1 {
namespace {

// GPUs: fitted to docs/performance.md and to the pipelines in docs/LOG.md.
constexpr double kGiB = 1073741824.0;
const std::array<DeviceRates, 2>& gpu_rates() {
  static const std::array<DeviceRates, 2> rates = {
      DeviceRates{"h100", true, 390e12, 700e12, 80e-9, 36e-6, 2.97e12, 0.004, 0.45e-3, 1.8, 0.65e9, 80 * kGiB},
      DeviceRates{"h200", true, 400e12, 700e12, 70e-9, 33e-6, 4.2e12, 0.004, 0.45e-3, 1.8, 0.65e9, 140 * kGiB},
  };
  return rates;
}
// CPU: shares of what our own product reaches in the same minute (docs/LOG.md, 2026-11-24, quiet machine).
constexpr double kCpuTrainShare = 0.67, kCpuSampleShare = 0.81;

constexpr double kMixed = 0.6, kHalf = 0.5, kPromptTokens = 100, kExampleTokens = 300, kExamples = 10'000;
constexpr std::int64_t kGpuRows = 1024, kCpuRows = 64;  // sequences that decode together
constexpr std::int64_t kCpuMicroBatch = 8192;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string bytes_text(double bytes) { return human_bytes(static_cast<std::uint64_t>(std::max(0.0, bytes))); }

// The optimizer's arithmetic and what it reads and writes, beside the passes.
double optimizer_seconds(const StageLoad& load, const ModelSize& m, const DeviceRates& r) {
  return (load.lora ? 4 : 30) * m.parameters * (load.critic ? 2 : 1) / r.bandwidth;
}

double train_flops(const DeviceRates& r, const ModelSize& m) {
  return r.gpu ? r.train_flops * std::min(1.0, static_cast<double>(m.hidden) / 900) : r.train_flops;
}

void draw(const Drawing& d, const StageSizes& s, const ModelSize& m, const DeviceRates& r, std::int64_t data_rows, bool keeps,
          StageCost& cost) {
  const auto prompts = static_cast<double>(d.prompts > 0 ? d.prompts : data_rows);
  const double all = prompts * static_cast<double>(d.samples);
  const double mean = std::min(s.new_tokens, static_cast<double>(d.max_new_tokens));
  // The longest of many runs to its end: twice and a half the mean, or the budget.
  const double longest = std::min(static_cast<double>(d.max_new_tokens), 2.5 * mean);
  const double waves = std::max(1.0, all / static_cast<double>(r.gpu ? kGpuRows : kCpuRows));
  const auto layers = static_cast<double>(m.layers);
  const double fixed = r.gpu ? r.step_layer * layers : 2 * m.active / r.bandwidth;  // of a decode step
  const double steps = std::max(longest, waves * mean);
  const double once = prompts * s.prompt_tokens * 2 * (m.active - m.head) / r.sample_flops  // groups share their prompt
                      + steps * fixed + all * mean * (2 * m.active / r.sample_flops + r.token_layer * layers);
  cost.sample += static_cast<double>(d.times) * once;
  cost.tokens_drawn += static_cast<double>(d.times) * all * mean;
  if (keeps) cost.other += static_cast<double>(d.times) * all * r.sample;
}

void learn(const StageLoad& load, const StageSizes& s, const ModelSize& m, const std::optional<ModelSize>& teacher, const DeviceRates& r, StageCost& cost) {
  if (load.learns == StageLoad::Learns::kNothing) return;
  double trained = 0, seen = 0;  // tokens: with a backward pass; that could have one
  if (load.learns == StageLoad::Learns::kCompletions) {
    const Drawing& d = load.drawings.at(0);
    const double rollout = static_cast<double>(d.prompts) * (s.prompt_tokens + static_cast<double>(d.samples) * s.new_tokens);
    seen = static_cast<double>(d.times) * rollout * load.passes;
    trained = seen * (load.all_samples ? 1 : s.mixed);
    cost.updates = load.updates;
  } else {
    cost.updates = load.updates > 0 ? load.updates : static_cast<std::int64_t>(std::ceil(load.epochs * s.examples / static_cast<double>(std::max<std::int64_t>(1, load.per_update))));
    const double examples = load.updates > 0 ? static_cast<double>(load.updates * load.per_update) : load.epochs * s.examples;
    seen = trained = examples * load.sequences * s.example_tokens;
  }
  cost.tokens_trained = trained;
  const double speed = train_flops(r, m);
  cost.train += trained * 6 * m.active * (load.critic ? 2 : 1) / speed;
  double forward = load.forward_passes * seen * 2 * (teacher ? teacher->active : m.active);
  if (load.lora) cost.train *= 2.0 / 3;  // no gradient of the weights themselves
  cost.train += forward / (1.5 * speed) + static_cast<double>(cost.updates) * optimizer_seconds(load, m, r);
  cost.other += static_cast<double>(cost.updates) * r.update;
  // Weights, master and two moments.
  const double saves = load.save_every > 0 ? std::ceil(static_cast<double>(cost.updates) / static_cast<double>(load.save_every)) : 1;
  if (r.disk > 0) cost.other += saves * 14 * m.parameters * (load.critic ? 2 : 1) / r.disk;
}

void plan_memory(const StageLoad& load, const StageSizes& s, const ModelSize& m, const std::optional<ModelSize>& teacher, const DeviceRates& r, StageCost& cost) {
  const double weights = m.parameters * (load.dtype == DType::kF32 ? 4 : 2);
  const bool trains = load.learns != StageLoad::Learns::kNothing;
  if (!r.gpu) {
    double sum = weights;
    std::string line = message("weights ", bytes_text(weights));
    const auto add = [&](const char* what, double bytes) { sum += bytes, line += message(", ", what, " ", bytes_text(bytes)); };
    if (trains) {
      add("optimizer", m.parameters * (load.lora ? 4 : load.dtype == DType::kF32 ? 12 : 16));
      const std::int64_t rows = load.tokens_per_micro_batch > 0 ? load.tokens_per_micro_batch : kCpuMicroBatch;
      add("activations", static_cast<double>(rows * m.kept_bytes_per_token));
    }
    if (load.reference) add("reference", weights);
    if (load.critic) add("critic", weights + 16 * m.parameters);
    if (teacher) add("teacher", 2 * teacher->parameters);
    if (!load.drawings.empty()) add("keys and values", 1.0 * kGiB);
    cost.memory.push_back(line + message("; ", bytes_text(sum), " in all at most", r.memory > 0 && sum > r.memory ? message(": more than the ", bytes_text(r.memory), " that are free") : std::string()));
    return;
  }
  GpuMemoryWishes w;
  w.total = w.free = static_cast<std::size_t>(r.memory);
  w.weights = static_cast<std::size_t>(2 * m.parameters);
  if (load.reference) w.reference = w.weights;
  if (load.critic) w.critic = w.weights;
  if (teacher) w.teacher = static_cast<std::size_t>(2 * teacher->parameters);
  if (trains) {
    w.trained = static_cast<std::int64_t>(m.parameters) * (load.critic ? 2 : 1), w.tensors = m.layers * 9 + 3;
    w.formats = load.optimizer;
    w.formats.gradient_only = load.lora;
    // As the CPU's, which keeps the residual stream in float32 too, with the head's rows of logits.
    w.training = [&](std::int64_t rows, bool recompute) {
      return static_cast<std::size_t>(rows * (recompute ? m.recompute_bytes_per_token : m.kept_bytes_per_token)) + (std::size_t{1} << 30);
    };
    if (load.tokens_per_micro_batch > 0) w.tokens_per_micro_batch = load.tokens_per_micro_batch;
  }
  w.longest_sample = static_cast<std::int64_t>(s.prompt_tokens + (load.drawings.empty() ? s.example_tokens : load.drawings.at(0).max_new_tokens));
  w.kv_bytes_per_token = static_cast<std::size_t>(m.kv_bytes_per_token);
  try {
    cost.memory = plan_gpu_memory(w).lines;
  } catch (const ConfigError& e) {
    cost.memory = {message("does not fit on one ", r.name, ": ", e.what())};
  }
}

}  // namespace

ModelSize size_of(const ModelConfig& c, const std::string& name) {
  ModelSize m;
  m.name = name;
  m.parameters = static_cast<double>(c.num_parameters());
  m.head = static_cast<double>(c.vocab_size * c.hidden_size);
  m.active = c.tie_word_embeddings ? m.parameters : m.parameters - m.head;
  m.layers = c.num_hidden_layers, m.hidden = c.hidden_size;
  m.kv_bytes_per_token = 4 * c.num_hidden_layers * c.num_key_value_heads * c.head_dim;
  m.kept_bytes_per_token = kept_bytes_per_token(c, DType::kBF16, false);
  m.recompute_bytes_per_token = kept_bytes_per_token(c, DType::kBF16, true);
  return m;
}

std::optional<ModelSize> known_model_size(const std::string& name) {
  std::string plain = lower(name.substr(name.find_last_of('/') + 1));
  for (const char* part : {"-instruct", "-base", "-math", "-it", "-chat"})
    if (const std::size_t at = plain.find(part); at != std::string::npos) plain.erase(at, std::string_view(part).size());
  for (const std::string& shape : model_shape_names())
    if (plain == shape) return size_of(model_shape(shape), name);
  // Beyond the shapes of this program's benchmarks; figures of the models' own reports.
  struct Published { const char* name; double parameters, active; std::int64_t layers, hidden, kv; };
  constexpr std::array kPublished = {
      Published{"deepseek-v3", 671e9, 37e9, 61, 7168, 61 * 576 * 2},  // one latent of 512 and 64 a layer
      Published{"deepseek-r1", 671e9, 37e9, 61, 7168, 61 * 576 * 2},
      Published{"deepseek-math-7b", 6.9e9, 6.5e9, 30, 4096, 4 * 30 * 4096},
      Published{"qwen2.5-14b", 14.8e9, 14.0e9, 48, 5120, 4 * 48 * 1024},
      Published{"qwen2.5-32b", 32.8e9, 32.0e9, 64, 5120, 4 * 64 * 1024},
      Published{"llama-3.3-70b", 70.6e9, 69.5e9, 80, 8192, 4 * 80 * 1024},
  };
  if (plain.ends_with("-7b") && plain.starts_with("deepseek")) plain = "deepseek-math-7b";  // "-math" went above
  for (const Published& p : kPublished)
    if (plain == p.name)
      return ModelSize{name, p.parameters, p.active, 0, p.layers, p.hidden, p.kv, p.layers * (8 * p.hidden + 2 * 6 * p.hidden), p.layers * 4 * p.hidden};
  return std::nullopt;
}

DeviceRates device_rates(const std::string& name, int threads) {
  const std::string wanted = lower(name);
  std::string here;
  if (wanted.empty() && gpu::unavailable_reason().empty()) here = lower(gpu::device_info().name);
  for (const DeviceRates& r : gpu_rates())
    if (wanted == r.name || (!here.empty() && here.find(r.name) != std::string::npos)) return r;
  if (!wanted.empty() && wanted != "cpu")
    throw ConfigError(message("--device ", name, ": no rates are known for it; known are cpu (this machine), h100, h200"));
  ComputePool pool(threads);
  const double product = measure_flops(pool, cpu::Type::kBF16);
  const std::vector<std::byte> memory(std::size_t{96} << 20);
  DeviceRates r{message("this CPU, ", pool.size(), " threads (", human_count(product), "FLOP/s just now)"), false, kCpuTrainShare * product,
                kCpuSampleShare * product, 0, 0, measure_bandwidth(pool, memory.data(), memory.size()), 0.1, 0.45e-3, 1.5, 0.8e9, 0};
  r.memory = static_cast<double>(available_memory());
  return r;
}

StageSizes stage_sizes(const StageLoad& load, const std::map<std::string, double>& expect, const std::optional<DataSize>& data) {
  StageSizes s;
  const auto value = [&](const char* name, std::optional<double> measured, double otherwise, const std::string& why) {
    const auto given = expect.find(name);
    const double v = given != expect.end() ? given->second : measured.value_or(otherwise);
    s.said.push_back(message(name, " ", human_number(v, 3), given != expect.end() ? " (expect)" : measured ? " (data)" : message(" (", why, ")")));
    return v;
  };
  const bool examples = load.learns == StageLoad::Learns::kExamples;
  const auto of_data = [&](double v) { return v > 0 ? std::optional(v) : std::nullopt; };
  if (examples) {
    s.examples = value("examples", data ? of_data(static_cast<double>(data->rows)) : std::nullopt, kExamples, "assumed");
    s.example_tokens = value("example_tokens", data ? of_data(data->tokens) : std::nullopt, kExampleTokens, "assumed");
    s.prompt_tokens = std::min(s.example_tokens, kPromptTokens);
  }
  if (load.drawings.empty()) return s;
  if (!examples) s.prompt_tokens = value("prompt_tokens", data ? of_data(data->tokens) : std::nullopt, kPromptTokens, "assumed");
  s.new_tokens = value("new_tokens", std::nullopt, kHalf * load.drawings.at(0).max_new_tokens, "half of the budget");
  if (load.learns == StageLoad::Learns::kCompletions && !load.all_samples) s.mixed = value("mixed", std::nullopt, kMixed, "assumed");
  if (std::any_of(load.drawings.begin(), load.drawings.end(), [](const Drawing& d) { return d.prompts == 0; }) && !examples)
    s.examples = value("examples", data ? of_data(static_cast<double>(data->rows)) : std::nullopt, kExamples, "assumed");
  return s;
}

StageCost stage_cost(const StageLoad& load, const StageSizes& sizes, const ModelSize& model, const std::optional<ModelSize>& teacher, const DeviceRates& rates) {
  StageCost cost;
  if (load.model.empty()) return cost;
  for (const Drawing& d : load.drawings) draw(d, sizes, model, rates, static_cast<std::int64_t>(sizes.examples), load.keeps_samples, cost);
  learn(load, sizes, model, teacher, rates, cost);
  cost.other += rates.start;
  plan_memory(load, sizes, model, teacher, rates, cost);
  return cost;
}

}  // namespace r1
