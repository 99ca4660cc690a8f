#include "apps/stage_space.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/format.h"
#include "model/gpu/gpu_layout.h"
#include "rl/gpu_memory_plan.h"

namespace r1 {
namespace {

constexpr std::int64_t kCpuMicroBatch = 8192;
constexpr double kProcess = 67e6, kPerId = 350;  // the program with its libraries; a tokenizer, an entry
constexpr double kPair = 20;       // of a LoRA pair's element: value, gradient, two moments, the copy that is saved
constexpr double kCpuKeys = 1e9;   // the CPU engine's keys and values, at most

std::string bytes_text(double bytes) { return human_bytes(static_cast<std::uint64_t>(std::max(0.0, bytes))); }
bool trains(const StageLoad& load) { return load.learns != StageLoad::Learns::kNothing; }

double pairs_of(const StageLoad& load, const ModelSize& m) { return load.lora && m.config ? lora_elements(*m.config, *load.lora) : 0; }

// ---- memory of the CPU ----

// Scratch of the learner's passes, a row: the head's columns with their gradients, a layer's gradients and their transposes (model/transformer_train.cpp).
double scratch_per_row(const StageLoad& load, const ModelSize& m) {
  if (!m.config) return 40 * static_cast<double>(m.hidden);
  const double head = load.scores ? 0 : static_cast<double>(std::min<std::int64_t>(2048, m.config->vocab_size)) * (4 + 2 + 2), size = 2;
  const auto inner = static_cast<double>(m.config->intermediate_size), d = static_cast<double>(m.hidden), q = static_cast<double>(m.queries);
  return head + size * 2 * (3 * inner + 3 * q) + 4 * 6 * d + size * 4 * d;
}

// What the learner keeps of `rows` rows: kernels/memory.cpp gives arrays from 2 MiB on whole large pages of their own; smaller ones share slabs, in which
// those that grew leave a hole of what they were.
double kept_bytes(const ModelSize& m, double rows, double size) {
  if (!m.config || m.config->moe || m.config->mla) return rows * static_cast<double>(m.kept_bytes_per_token) * size / 2;
  constexpr double kLarge = 2097152, kSlab = 8 * kLarge;
  const ModelConfig& c = *m.config;
  const auto d = static_cast<double>(c.hidden_size), q = static_cast<double>(m.queries), kv = static_cast<double>(c.num_key_value_heads * c.head_dim);
  const auto heads = static_cast<double>(c.num_attention_heads), inner = static_cast<double>(c.intermediate_size);
  double large = 0, small = 0;
  for (const double width : {4 * d, 4 * d, 4.0, 4.0, size * (q + 2 * kv), size * q, 4 * heads, size * 2 * inner, c.qk_norm ? size * (q + kv) : 0}) {
    const double bytes = rows * width;
    if (bytes >= kLarge) large += std::ceil(bytes / kLarge) * kLarge;
    else small += bytes;
  }
  const double holes = 2 * static_cast<double>(m.layers) * small;
  return static_cast<double>(m.layers) * large + holes + 2 * std::min(kSlab, holes);  // the last slab is not full; the passes' scratch has one too
}

StageMemory cpu_memory(const StageLoad& load, const StageSizes& s, const ModelSize& m, const std::optional<ModelSize>& teacher, const DeviceRates& r) {
  StageMemory out;
  const double size = load.dtype == DType::kF32 ? 4 : 2, weights = size * m.parameters;
  std::string line;
  const auto add = [&](const char* what, double bytes) { out.peak += bytes, line += message(line.empty() ? "" : ", ", what, " ", bytes_text(bytes)); };
  add("program", kProcess + (m.config ? kPerId * static_cast<double>(m.config->vocab_size) : 0));
  add("weights", weights);
  add("packed for products", (trains(load) ? 2 : 1) * weights);
  if (trains(load)) {
    if (load.lora) add("gradient, LoRA pairs and their base", (4 + size) * m.parameters + kPair * pairs_of(load, m));
    else add("optimizer", m.parameters * (load.dtype == DType::kF32 ? 12 : 16));
    const std::int64_t budget = load.tokens_per_micro_batch > 0 ? load.tokens_per_micro_batch : kCpuMicroBatch;
    const double rows = rows_at_once(load, s, budget), all = kept_bytes(m, rows, size);
    // As rl/activation_plan.h decides, by the whole budget.
    const double most = static_cast<double>(budget * m.kept_bytes_per_token) * size / 2;
    const bool twice = load.recompute.value_or(r.memory > 0 && most > (r.memory - out.peak) / 2);
    const double kept = twice ? rows * static_cast<double>(m.recompute_bytes_per_token) + all / static_cast<double>(std::max<std::int64_t>(1, m.layers)) : all;
    add(message("activations of ", with_commas(std::llround(rows)), " tokens", twice ? ", layers computed twice," : "").c_str(), kept + rows * scratch_per_row(load, m));
  }
  if (load.reference) add("reference", 2 * weights);
  if (load.scorers > 0) add("reward models", load.scorers * 2 * weights);
  if (load.critic) add("critic", 3 * weights + 16 * m.parameters);
  if (teacher) add("teacher", 4 * teacher->parameters);
  double keys = 0;
  for (const Drawing& d : load.drawings) {
    const double all = static_cast<double>(d.prompts > 0 ? d.prompts : std::llround(s.examples)) * static_cast<double>(d.samples);
    const double rows = std::min(all, load.decode_rows > 0 ? static_cast<double>(load.decode_rows) : 128.0);
    keys = std::max(keys, rows * (s.prompt_tokens / static_cast<double>(std::max<std::int64_t>(1, d.samples)) + s.new_tokens) * static_cast<double>(m.kv_bytes_per_token) * size / 2);
  }
  if (keys > 0) add("keys and values", std::min(keys, kCpuKeys));
  line += message("; ", bytes_text(out.peak), " in all at most");
  if (r.memory > 0 && out.peak > r.memory) line += message(": more than the ", bytes_text(r.memory), " that are free");
  out.lines.push_back(line);
  return out;
}

// ---- memory of a GPU: the plan that the run itself makes ----

// Of a pass with its backward pass over `n` rows, all of them predictors.
std::size_t pass_bytes(const ModelSize& m, std::int64_t n, bool recompute, bool scores) {
  if (m.config) return gpu_pass_bytes(*m.config, n, n, {scores ? GpuHeadKind::kScores : GpuHeadKind::kLogprobs, true, recompute});
  // Known by name alone: as the CPU keeps them, with the head's rows of logits.
  return static_cast<std::size_t>(n * (recompute ? m.recompute_bytes_per_token : m.kept_bytes_per_token)) + (std::size_t{1} << 30);
}

StageMemory gpu_memory(const StageLoad& load, const StageSizes& s, const ModelSize& m, const std::optional<ModelSize>& teacher, const DeviceRates& r) {
  GpuMemoryWishes w;
  w.total = w.free = static_cast<std::size_t>(r.memory);
  w.weights = static_cast<std::size_t>(2 * m.parameters);
  if (load.reference) w.reference = w.weights;
  w.teacher += static_cast<std::size_t>(load.scorers) * w.weights;
  if (load.critic) w.critic = w.weights;
  if (teacher) w.teacher += static_cast<std::size_t>(2 * teacher->parameters);
  if (trains(load)) {
    w.trained = static_cast<std::int64_t>(m.parameters) * (load.critic ? 2 : 1), w.tensors = m.layers * 9 + 3;
    w.formats = load.optimizer;
    w.formats.gradient_only = load.lora.has_value();
    if (load.lora) w.lora = w.weights + static_cast<std::size_t>(16 * pairs_of(load, m));
    w.training = [&m, scores = load.scores](std::int64_t rows, bool recompute) { return pass_bytes(m, rows, recompute, scores); };
    w.recompute = load.recompute;
    if (load.tokens_per_micro_batch > 0) w.tokens_per_micro_batch = load.tokens_per_micro_batch;
  }
  w.longest_sample = static_cast<std::int64_t>(s.prompt_tokens + (load.drawings.empty() ? s.example_tokens : load.drawings.at(0).max_new_tokens));
  w.kv_bytes_per_token = load.scores ? 0 : static_cast<std::size_t>(m.kv_bytes_per_token);
  try {
    const GpuMemoryPlan plan = plan_gpu_memory(w);
    return {static_cast<double>(plan.used), plan.lines};
  } catch (const ConfigError& e) {
    return {0, {message("does not fit on one ", r.name, ": ", e.what())}};
  }
}

// ---- disk: bytes of a line or an entry of the files that are written, beside the tokens in them ----

constexpr double kToken = 4.8;                                           // as text
constexpr double kStage = 600, kRun = 5000;                              // settings and records of a stage; a run's configuration too
constexpr double kExampleStep = 520, kRolloutStep = 1600, kCurves = 0.8;  // a line of metrics; of it in TensorBoard's file
constexpr double kTensor = 100;                                          // of a checkpoint's header
constexpr double kTranscript = 160;                                      // samples/, a completion
constexpr double kRollout = 200, kRolloutToken = 22, kTrace = 50, kTraceToken = 14;  // rollouts/: of all completions; of those learnt from
constexpr double kPrompt = 330, kRawSample = 175, kRawScore = 85, kRecord = 665, kRecordScore = 140, kCard = 1400;  // kind generate
constexpr double kItem = 195, kGraded = 100, kSettings = 700;            // kind eval

}  // namespace

StageMemory stage_memory(const StageLoad& load, const StageSizes& s, const ModelSize& m, const std::optional<ModelSize>& teacher, const DeviceRates& r) {
  if (load.model.empty()) return {};
  return r.gpu ? gpu_memory(load, s, m, teacher, r) : cpu_memory(load, s, m, teacher, r);
}

StageDisk stage_disk(const StageLoad& load, const StageSizes& s, const ModelSize& m, bool weights_alone) {
  StageDisk disk;
  double drawn = 0, prompts = 0;
  for (const Drawing& d : load.drawings) {
    const double rows = d.prompts > 0 ? static_cast<double>(d.prompts) : s.examples;
    drawn += rows * static_cast<double>(d.samples), prompts += rows;
  }
  disk.kept = kStage;
  if (load.yield) {
    const double records = s.makes ? static_cast<double>(s.makes->rows) : 0, tokens = s.makes ? s.makes->tokens : 0;
    const bool scored = load.yield->scored;
    disk.kept += kCard + prompts * kPrompt + drawn * (kRawSample + (scored ? kRawScore : 0) + kToken * s.new_tokens) +
                 records * (kRecord + (scored ? kRecordScore : 0) + kToken * tokens / 2);
  } else if (load.evaluates) {
    disk.kept += kSettings + prompts * kItem + drawn * (kGraded + kToken * s.new_tokens);
  }
  disk.running = disk.kept;
  if (!trains(load)) return disk;
  const auto updates = static_cast<double>(updates_of(load, s));
  const double weights = (load.dtype == DType::kF32 ? 4 : 2) * m.parameters + kTensor * static_cast<double>(9 * m.layers + 3) + m.side_bytes;
  const double state = load.lora ? 16 * pairs_of(load, m) : (load.dtype == DType::kF32 ? 8 : 12) * m.parameters * (load.critic ? 2 : 1);
  const double saves = load.save_every > 0 ? std::ceil(updates / static_cast<double>(load.save_every)) : 1;
  const double keep = load.keep > 0 ? std::min<double>(load.keep, saves) : saves;
  const bool rollouts = load.learns == StageLoad::Learns::kCompletions;
  double records = kStage + kRun + updates * (rollouts ? kRolloutStep : kExampleStep) * (load.tensorboard ? 1 + kCurves : 1);
  if (rollouts) {
    const Drawing& d = load.drawings.at(0);
    const auto once = static_cast<double>(d.prompts * d.samples);
    records += std::min(load.record_bytes, static_cast<double>(d.times) * once *
                                               (kRollout + kRolloutToken * s.new_tokens + s.mixed * (kTrace + kTraceToken * s.new_tokens)));
    if (load.samples_every > 0) records += once * kTranscript * (1 + std::floor(updates / static_cast<double>(load.samples_every)));
  }
  // While a checkpoint is written, those that stay are still there.
  disk.running = records + (weights + state) * std::min(saves, keep + 1);
  disk.kept = records + (weights_alone ? weights : (weights + state) * keep);
  return disk;
}

}  // namespace r1
