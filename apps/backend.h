// The device that a model runs on: it owns the weights and makes what a command needs of them. One implementation for the CPU,
// one for the GPU (gpu_backend.cpp; no_gpu_backend.cpp in a build without CUDA).
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/bench_train.h"
#include "core/compute_pool.h"
#include "kd/kd_pass.h"
#include "model/model_group.h"
#include "model/weight_store.h"
#include "rl/lora_state.h"
#include "rl/optimizer_format.h"
#include "rl/parameter_arena.h"
#include "rl/policy.h"
#include "rl/shard_plan.h"
#include "preference/frozen_scorer.h"
#include "rl/value_model.h"
#include "rollout/local_engine.h"
#include "rollout/rollout_bench.h"
#include "text/tokenizer.h"

namespace r1 {

enum class DeviceKind : std::uint8_t { kCpu, kGpu };

// `wish`: auto, cpu or cuda. auto is the GPU where one answers and the dtype is bfloat16, the only one it knows. `why_not`: why
// there is no GPU, empty = there is one. Throws ConfigError naming the remedy.
DeviceKind choose_device(const std::string& wish, DType dtype, const std::string& why_not);
DeviceKind choose_device(const std::string& wish, DType dtype);  // of this machine

std::string cpu_line();  // this machine's CPU and the instructions that are used of it

struct BackendModel {
  ModelConfig config;
  DType dtype = DType::kBF16;
  std::function<void(WeightStore&)> load;  // fills the weights; called once. Empty: random ones, made where they are used
  std::int64_t vocab_limit = 0;            // ids from here on are never sampled; 0 = none
  ModelParallel parallel;                  // the ranks that run it together; on the CPU
};

struct BackendNeeds {
  LocalEngineOptions engine;  // 0 in max_rows, kv_cache_bytes, prefill_tokens_per_step = the device's own choice
  bool trains = false, reference = false;
  bool overlap = false;             // the engine samples beside the learner: it gets weights and memory of its own
  bool sends_weights = false;       // or takes them: a copy on their way between learner and rollout servers lies beside the model
  bool critic = false;              // a value head on a copy of the model: PPO
  std::optional<BackendModel> teacher;  // a frozen model beside the one that learns: distillation
  std::optional<std::int64_t> tokens_per_micro_batch;  // none = the device's choice
  std::optional<bool> recompute;                       // none = by memory
  MasterStart master_start = MasterStart::kExact;
  Share share;  // of a run on several ranks: which this is, and what each keeps a share of (train.zero)
  OptimizerWishes optimizer;  // of the GPU; the CPU has float32 alone and throws ConfigError for others
  std::optional<LoraAdapter> lora;  // of the policy, or of the value model: pairs are trained in place of the weights
  std::optional<TransformerValue::Options> value;  // a scalar head on the model in place of policy and engine (recompute is set there)
  double gpu_memory_share = 0.9;
  std::int64_t longest_sample = 0;  // tokens, prompt and completion
};

// Sampling alone, with what the device likes best.
inline BackendNeeds device_default() {
  BackendNeeds needs;
  needs.engine.max_rows = needs.engine.prefill_tokens_per_step = 0;
  needs.engine.kv_cache_bytes = 0;
  return needs;
}

struct BackendParts {
  std::unique_ptr<RolloutEngine> engine;
  std::unique_ptr<PolicyModel> policy;      // with trains
  std::unique_ptr<ScoringModel> reference;  // with reference
  std::unique_ptr<ValueModel> critic;       // with critic
  std::unique_ptr<ScoringModel> teacher;    // with teacher
  std::unique_ptr<ValueModel> value;        // with value: then the only one
  const LoraState* lora = nullptr;          // with lora: of policy or value, which own it
  std::int64_t tokens_per_micro_batch = 0;  // with trains, value
  std::vector<std::string> memory;          // the plan, lines for people
};

// Not thread-safe.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual const ModelConfig& config() const = 0;
  virtual std::string device() const = 0;  // "cpu", or the GPU's name
  virtual std::string line() const = 0;    // for the start block
  // Once; the parts are destroyed before the backend. `tokenizer` may be null. Throws ConfigError for a need that the device does
  // not meet.
  virtual BackendParts make(const BackendNeeds& needs, std::shared_ptr<const Tokenizer> tokenizer) = 0;
  // A frozen model alone, for batches of at most `rows` rows: to be asked and destroyed before make().
  virtual std::unique_ptr<ScoringModel> make_teacher(const BackendModel& model, std::int64_t rows) = 0;
  // The loss of make()'s policy against make()'s teacher, or against a store. Both, and the backend, outlive it.
  virtual std::unique_ptr<KdPass> kd_pass(PolicyModel& student, ScoringModel& teacher) = 0;
  virtual std::unique_ptr<KdPass> kd_pass(PolicyModel& student, TeacherStore& store) = 0;
  virtual double peak_gb() const = 0;      // GiB of memory in use, of the device where it has its own

  // Each prints one JSON line a case; instead of make().
  virtual void bench_rollout(const std::string& name, const std::vector<RolloutBenchCase>& cases, int repeats, std::ostream& out) = 0;
  virtual void bench_train(const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options, std::ostream& out) = 0;
  virtual void bench_grpo(const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options, std::ostream& out) = 0;
};

// The pool outlives it.
std::unique_ptr<Backend> make_cpu_backend(const BackendModel& model, ComputePool& pool);
std::unique_ptr<Backend> make_gpu_backend(const BackendModel& model);  // throws DeviceError without a GPU
std::unique_ptr<Backend> make_backend(DeviceKind device, const BackendModel& model, ComputePool& pool);

// A reward model on the GPU that is only asked, for batches of at most `rows` rows; throws DeviceError without a GPU. The store holds the
// backbone (bfloat16), `head` is [D].
RowScorer make_gpu_scorer(const ModelConfig& config, const WeightStore& weights, std::span<const float> head, std::int64_t rows);

}  // namespace r1
