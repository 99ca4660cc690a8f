#include "apps/stage_space.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/format.h"
#include "rl/gpu_memory_plan.h"

namespace r1 {
namespace {

constexpr std::int64_t kCpuMicroBatch = 8192;
constexpr double kProcess = 90e6;  // the program, its libraries, a tokenizer
constexpr double kCpuKeys = 1e9;   // the CPU engine's keys and values, at most

std::string bytes_text(double bytes) { return human_bytes(static_cast<std::uint64_t>(std::max(0.0, bytes))); }
bool trains(const StageLoad& load) { return load.learns != StageLoad::Learns::kNothing; }

// ---- memory of the CPU ----

// Scratch of the learner's passes, a row: the head's columns with their gradients, a layer's gradients and their transposes (model/transformer_train.cpp).
double scratch_per_row(const StageLoad& load, const ModelSize& m) {
  if (!m.config) return 40 * static_cast<double>(m.hidden);
  const double head = load.scores ? 0 : 2048 * (4 + 2 + 2), size = 2;
  const auto inner = static_cast<double>(m.config->intermediate_size), d = static_cast<double>(m.hidden), q = static_cast<double>(m.queries);
  return head + size * 2 * (3 * inner + 3 * q) + 4 * 6 * d + size * 4 * d;
}

StageMemory cpu_memory(const StageLoad& load, const StageSizes& s, const ModelSize& m, const std::optional<ModelSize>& teacher, const DeviceRates& r) {
  StageMemory out;
  const double size = load.dtype == DType::kF32 ? 4 : 2, weights = size * m.parameters;
  std::string line;
  const auto add = [&](const char* what, double bytes) { out.peak += bytes, line += message(line.empty() ? "" : ", ", what, " ", bytes_text(bytes)); };
  add("program", kProcess);
  add("weights", weights);
  add("packed for products", (trains(load) ? 2 : 1) * weights);
  if (trains(load)) {
    add("optimizer", m.parameters * (load.lora ? 4 : load.dtype == DType::kF32 ? 12 : 16));
    const std::int64_t budget = load.tokens_per_micro_batch > 0 ? load.tokens_per_micro_batch : kCpuMicroBatch;
    const double rows = rows_at_once(load, s, budget);
    add(message("activations of ", with_commas(std::llround(rows)), " tokens").c_str(), rows * (static_cast<double>(m.kept_bytes_per_token) * size / 2 + scratch_per_row(load, m)));
  }
  if (load.reference) add("reference", 2 * weights);
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

StageMemory gpu_memory(const StageLoad& load, const StageSizes& s, const ModelSize& m, const std::optional<ModelSize>& teacher, const DeviceRates& r) {
  GpuMemoryWishes w;
  w.total = w.free = static_cast<std::size_t>(r.memory);
  w.weights = static_cast<std::size_t>(2 * m.parameters);
  if (load.reference) w.reference = w.weights;
  if (load.critic) w.critic = w.weights;
  if (teacher) w.teacher = static_cast<std::size_t>(2 * teacher->parameters);
  if (trains(load)) {
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
    const GpuMemoryPlan plan = plan_gpu_memory(w);
    return {static_cast<double>(plan.used), plan.lines};
  } catch (const ConfigError& e) {
    return {0, {message("does not fit on one ", r.name, ": ", e.what())}};
  }
}

// ---- disk: bytes of what the writers of these files write, a completion and a token (docs/pipeline.md) ----

constexpr double kSideFiles = 1.6e6;  // tokenizer and configurations beside a checkpoint's weights
constexpr double kStep = 5e3;         // a line of metrics, TensorBoard's points
constexpr double kTokenText = 4.8;    // of a token as text
constexpr double kPrompt = 330, kRawSample = 280, kRecord = 870, kCard = 1700;  // kind generate
constexpr double kItem = 200, kGraded = 100;                                    // kind eval

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
  if (load.yield) {
    const double records = s.makes ? static_cast<double>(s.makes->rows) : 0, tokens = s.makes ? s.makes->tokens : 0;
    disk.kept = kCard + prompts * kPrompt + drawn * (kRawSample + kTokenText * s.new_tokens) + records * (kRecord + kTokenText * tokens / 2);
  } else if (load.evaluates) {
    disk.kept = prompts * kItem + drawn * (kGraded + kTokenText * s.new_tokens);
  }
  disk.running = disk.kept;
  if (!trains(load)) return disk;
  const auto updates = static_cast<double>(updates_of(load, s));
  const double weights = (load.dtype == DType::kF32 ? 4 : 2) * m.parameters + kSideFiles;
  const double state = load.lora ? 0 : (load.dtype == DType::kF32 ? 8 : 12) * m.parameters * (load.critic ? 2 : 1);
  const double saves = load.save_every > 0 ? std::ceil(updates / static_cast<double>(load.save_every)) : 1;
  const double keep = load.keep > 0 ? std::min<double>(load.keep, saves) : saves;
  double records = updates * kStep;
  if (load.learns == StageLoad::Learns::kCompletions) {
    const Drawing& d = load.drawings.at(0);
    const auto all = static_cast<double>(d.times * d.prompts * d.samples);
    // rollouts/: texts, tokens and log-probabilities of all, traces of those that were learnt from.
    records += std::min(load.record_bytes, all * (390 + s.new_tokens * (16 + 14 * s.mixed)));
  }
  // While a checkpoint is written, those that stay are still there.
  disk.running = records + (weights + state) * std::min(saves, keep + 1);
  disk.kept = records + (weights_alone ? weights : (weights + state) * keep);
  return disk;
}

}  // namespace r1
