// The CPU behind Backend, and the choice between it and the GPU.
#include <fstream>

#include <sys/resource.h>

#include "apps/backend.h"
#include "core/error.h"
#include "core/format.h"
#include "kernels/cpu.h"
#include "kernels/gpu/device.h"
#include "model/transformer.h"
#include "rl/activation_plan.h"
#include "rl/host_lora.h"
#include "rl/transformer_policy.h"

namespace r1 {

namespace {

constexpr std::int64_t kMicroBatch = 8192;  // tokens

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "CPU";
}

void refuse_packed(const OptimizerWishes& wishes) {
  if (wishes.offload)
    throw ConfigError("offload: optimizer (train.) keeps master and moments of a GPU in the host's memory, and this runs on the CPU, where they are: leave it out, or use device: cuda");
  if (wishes.asks_for_packed())
    throw ConfigError("master: split, moments: 8bit and gradients: bfloat16 (train.) save memory of a GPU, and this runs on the CPU, where all of it is "
                      "float32: leave them out, or use device: cuda");
}

struct OwnTransformer {
  Transformer own;
};
class CpuTeacher : OwnTransformer, public TransformerReference {  // the transformer is made first
 public:
  CpuTeacher(const BackendModel& model, ComputePool& pool) : OwnTransformer{{model.config, model.dtype, pool}}, TransformerReference(own) {
    model.load(own.weights());
    own.weights_changed();
    if (model.vocab_limit > 0) own.set_vocab_limit(model.vocab_limit);
  }
};

class LiveHostPass : public KdPass {
 public:
  LiveHostPass(PolicyModel& student, ScoringModel& teacher, ComputePool& pool) : rows_(teacher), pass_(student, rows_, pool) {}
  std::vector<double> train(const MicroBatch& batch, const KdOptions& options, double weight) override { return pass_.train(batch, options, weight); }
  std::vector<double> evaluate(const MicroBatch& batch, std::span<const KdOptions> kinds) override { return pass_.evaluate(batch, kinds); }

 private:
  LiveTeacher rows_;
  HostKdPass pass_;
};

class CpuBackend : public Backend {
 public:
  CpuBackend(const BackendModel& model, ComputePool& pool) : pool_(pool), model_(model.config, model.dtype, pool, model.parallel) {
    if (model.load) model.load(model_.weights());
    else init_random(model_.weights(), 1, 0.02f);
    model_.weights_changed();
    if (model.vocab_limit > 0) model_.set_vocab_limit(model.vocab_limit);
  }

  const ModelConfig& config() const override { return model_.config(); }
  std::string device() const override { return "cpu"; }
  std::string line() const override {
    return message(cpu_line(), ", ", pool_.size(), pool_.size() == 1 ? " thread" : " threads");
  }

  BackendParts make(const BackendNeeds& needs, std::shared_ptr<const Tokenizer> tokenizer) override {
    BackendParts parts;
    refuse_parallel(needs);
    TransformerPolicy::Options own_policy;
    if (needs.trains || needs.value) {
      refuse_packed(needs.optimizer);
      parts.tokens_per_micro_batch = needs.tokens_per_micro_batch.value_or(kMicroBatch);
      const ActivationPlan activations = plan_activations(model_, parts.tokens_per_micro_batch, needs.recompute, -1,
                                                         needs.lora ? ArenaParts::kGradient : ArenaParts::kAll);
      parts.memory.push_back(activations.line);
      if (needs.share.ranks > 1 && !needs.lora && !needs.value) parts.memory.push_back(plan_shards(model_, needs.share).line(needs.share));
      if (needs.value) {
        TransformerValue::Options options = *needs.value;
        options.recompute = activations.recompute;
        if (needs.lora) {
          auto value = with_lora(model_, options, *needs.lora);
          parts.lora = &value->lora();
          parts.value = std::move(value);
        } else {
          parts.value = std::make_unique<TransformerValue>(model_, options);
        }
        return parts;
      }
      own_policy = {activations.recompute, needs.master_start};
    }
    if (needs.reference) {
      reference_ = std::make_unique<Transformer>(model_.config(), model_.weights().dtype(), pool_, model_.parallel());
      reference_->weights().load(model_.weights().snapshot(0));
      reference_->weights_changed();
      reference_->set_vocab_limit(model_.vocab_limit());
      parts.reference = std::make_unique<TransformerReference>(*reference_);
    }
    if (needs.teacher) parts.teacher = make_teacher(*needs.teacher, 0);
    if (needs.critic) {
      critic_ = std::make_unique<Transformer>(model_.config(), model_.weights().dtype(), pool_);
      critic_->weights().load(model_.weights().snapshot(0));
      critic_->weights_changed();
      const ActivationPlan activations = plan_activations(*critic_, parts.tokens_per_micro_batch, needs.recompute);
      parts.memory.push_back("critic: " + activations.line);
      TransformerValue::Options options;
      options.recompute = activations.recompute, options.master_start = needs.master_start;
      parts.critic = std::make_unique<TransformerValue>(*critic_, options);
    }
    if (needs.trains) {  // after the copies of the start model: pairs that an adapter brings are no part of them
      if (needs.lora) {
        auto policy = with_lora(model_, own_policy, *needs.lora);
        parts.lora = &policy->lora();
        parts.policy = std::move(policy);
      } else {
        parts.policy = std::make_unique<TransformerPolicy>(model_, own_policy);
      }
    }
    const LocalEngineOptions usual;
    LocalEngineOptions engine = needs.engine;
    if (engine.max_rows == 0) engine.max_rows = usual.max_rows;
    if (engine.kv_cache_bytes == 0) engine.kv_cache_bytes = usual.kv_cache_bytes;
    if (engine.prefill_tokens_per_step == 0) engine.prefill_tokens_per_step = usual.prefill_tokens_per_step;
    Transformer* sampled = &model_;
    if (needs.overlap) {
      // The machine's cores are for both; whoever has nothing to do leaves them to the other.
      rollout_pool_ = std::make_unique<ComputePool>(pool_.size());
      rollout_ = std::make_unique<Transformer>(model_.config(), model_.weights().dtype(), *rollout_pool_);
      rollout_->weights().load(model_.weights().snapshot(0));
      rollout_->weights_changed();
      rollout_->set_vocab_limit(model_.vocab_limit());
      sampled = rollout_.get();
      const WeightStore& weights = rollout_->weights();
      parts.memory.push_back(message("the rollout's own weights: ", human_bytes(static_cast<std::uint64_t>(weights.elements()) * size_of(weights.dtype()))));
    }
    parts.engine = std::make_unique<LocalEngine>(*sampled, std::move(tokenizer), engine);
    model_.set_vocab_limit(sampled->vocab_limit());  // the engine knows the tokenizer's
    return parts;
  }

  std::unique_ptr<ScoringModel> make_teacher(const BackendModel& model, std::int64_t) override { return std::make_unique<CpuTeacher>(model, pool_); }
  std::unique_ptr<KdPass> kd_pass(PolicyModel& student, ScoringModel& teacher) override { return std::make_unique<LiveHostPass>(student, teacher, pool_); }
  std::unique_ptr<KdPass> kd_pass(PolicyModel& student, TeacherStore& store) override { return std::make_unique<HostKdPass>(student, store, pool_); }

  double peak_gb() const override {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / (1 << 20);
  }

  void bench_rollout(const std::string&, const std::vector<RolloutBenchCase>& cases, int repeats, std::ostream& out) override {
    RolloutBenchOptions options;
    options.repeats = repeats;
    run_rollout_bench(model_, nullptr, cases, options, out);
  }
  void bench_train(const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options, std::ostream& out) override {
    refuse_packed(options.optimizer);
    run_train_bench(model_, name, c, options, out);
  }
  void bench_grpo(const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options, std::ostream& out) override {
    refuse_packed(options.optimizer);
    run_grpo_bench(model_, name, c, options, out);
  }

 private:
  // What a model of several ranks is not used for.
  void refuse_parallel(const BackendNeeds& needs) const {
    const ModelParallel& p = model_.parallel();
    if (!p.any()) return;
    const char* key = p.key();
    for (const auto& [wanted, what] : {std::pair{needs.lora.has_value(), "lora"}, {needs.critic, "advantage.kind: gae"}, {needs.overlap, "rl.max_staleness"},
                                       {needs.teacher.has_value(), "a teacher"}, {needs.value.has_value(), "a value head"}})
      if (wanted) throw ConfigError(message(key, " and ", what, " do not go together; set ", key, " to 1"));
  }

  ComputePool& pool_;
  Transformer model_;
  std::unique_ptr<Transformer> reference_, critic_;
  std::unique_ptr<ComputePool> rollout_pool_;
  std::unique_ptr<Transformer> rollout_;  // with overlap
};

}  // namespace

std::string cpu_line() { return message(cpu_name(), ", ", cpu::to_string(cpu::isa())); }

DeviceKind choose_device(const std::string& wish, DType dtype, const std::string& why_not) {
  if (wish == "cpu") return DeviceKind::kCpu;
  if (wish == "auto") return why_not.empty() && dtype == DType::kBF16 ? DeviceKind::kGpu : DeviceKind::kCpu;
  if (wish != "cuda") throw ConfigError(message("device '", wish, "' is not known; use auto, cpu or cuda"));
  if (!why_not.empty()) throw ConfigError(message("device cuda: ", why_not));
  if (dtype != DType::kBF16) throw ConfigError("device cuda computes in bfloat16 alone; set dtype bfloat16, or use device cpu");
  return DeviceKind::kGpu;
}

DeviceKind choose_device(const std::string& wish, DType dtype) {
  return choose_device(wish, dtype, wish == "cpu" ? std::string() : gpu::unavailable_reason());
}

std::unique_ptr<Backend> make_cpu_backend(const BackendModel& model, ComputePool& pool) { return std::make_unique<CpuBackend>(model, pool); }

std::unique_ptr<Backend> make_backend(DeviceKind device, const BackendModel& model, ComputePool& pool) {
  return device == DeviceKind::kGpu ? make_gpu_backend(model) : make_cpu_backend(model, pool);
}

}  // namespace r1
