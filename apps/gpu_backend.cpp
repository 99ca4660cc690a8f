// The GPU behind Backend: one transformer, one memory plan, one region that rollout and learner use in turns; with overlap a second
// transformer and a region of its own for the rollout.
#include <algorithm>

#include "apps/backend.h"
#include "apps/gpu_bench_cases.h"
#include "core/error.h"
#include "kd/gpu_kd_pass.h"
#include "kernels/gpu/device.h"
#include "rl/gpu_lora.h"
#include "rl/gpu_memory_plan.h"
#include "rl/gpu_policy.h"
#include "rl/gpu_teacher.h"
#include "rl/gpu_value.h"
#include "rl/lora_policy.h"
#include "rl/lora_value.h"
#include "rollout/gpu_step_device.h"
#include "rollout/pipelined_engine.h"

namespace r1 {

namespace {

constexpr int kRows = 1024, kPrefill = 8192;  // of a step, unless somebody asks for others

class GpuBackend : public Backend {
 public:
  explicit GpuBackend(const BackendModel& model) : before_(gpu::device_info()), model_(checked(model, before_)) {
    if (model.load) {
      // The file's tensors come together on the host, in the arena's layout; it is gone before anything else is made.
      WeightStore host(model.config, DType::kBF16);
      model.load(host);
      model_.weights().load(host.snapshot(0));
    } else {
      model_.weights().init_random(1, 0.02f);
    }
    if (model.vocab_limit > 0) model_.set_vocab_limit(model.vocab_limit);
  }

  const ModelConfig& config() const override { return model_.config(); }
  std::string device() const override { return before_.name; }
  std::string line() const override { return before_.name; }

  BackendParts make(const BackendNeeds& needs, std::shared_ptr<const Tokenizer> tokenizer) override {
    if (!model_.shape().learns && (needs.trains || needs.value || needs.critic))
      throw ConfigError(message("the GPU's learner does not know all of a ", model_.config().model_type, " model, its rollout and evaluation do; set model.device: cpu"));
    const auto elements = model_.weights().elements();
    const auto tensors = static_cast<std::int64_t>(model_.weights().parameters().size());
    GpuMemoryWishes w;
    w.total = before_.memory_total, w.free = before_.memory_free, w.share = needs.gpu_memory_share;
    w.weights = static_cast<std::size_t>(elements) * 2;
    if (needs.reference) w.reference = w.weights;
    if (needs.overlap) w.rollout = w.weights;
    if (needs.sends_weights) w.sent = w.weights;
    const GpuTraining counting(model_, region_);
    const auto head = needs.value ? GpuTraining::HeadKind::kScores : GpuTraining::HeadKind::kLogprobs;
    if (needs.trains || needs.value) {
      w.trained = elements, w.tensors = tensors, w.formats = needs.optimizer;
      w.formats.gradient_only = needs.lora.has_value();
      if (shard_of(needs).count > 1 && !needs.lora) {
        w.own = shard_of(needs).own(elements).size();
        if (!w.formats.moments) w.formats.moments = MomentFormat::kFloat32;  // 8-bit blocks are not cut
      }
      if (needs.lora) w.lora = GpuLora::bytes(*needs.lora);
      w.training = [&](std::int64_t rows, bool recompute) { return counting.bytes_needed(rows, rows, {head, true, recompute}); };
    }
    if (needs.critic) {
      w.critic = w.weights;
      // Its state is of the policy's format, but for a policy that keeps none.
      if (w.formats.gradient_only) w.critic += OptimizerFormat{}.bytes(elements, tensors);
      else w.trained *= 2, w.tensors *= 2;
    }
    std::unique_ptr<GpuTeacher> teacher;
    if (needs.teacher) {
      teacher = load_teacher(*needs.teacher);
      w.teacher = static_cast<std::size_t>(teacher->model().weights().elements()) * 2;
      w.beside = [&](std::int64_t rows) { return teacher->pass_bytes(rows); };
    }
    w.tokens_per_micro_batch = needs.tokens_per_micro_batch, w.recompute = needs.recompute, w.longest_sample = needs.longest_sample;
    w.max_kv_bytes = needs.engine.kv_cache_bytes;
    w.kv_bytes_per_token = needs.value ? 0 : static_cast<std::size_t>(model_.shape().kv_bytes_per_token());
    const GpuMemoryPlan plan = plan_gpu_memory(w);

    BackendParts parts;
    parts.memory = plan.lines;
    parts.tokens_per_micro_batch = plan.tokens_per_micro_batch;
    if (needs.reference) {
      reference_ = copy_of_model();
      parts.reference = std::make_unique<GpuReference>(*reference_, region_);
    }
    if (needs.critic) {
      critic_ = copy_of_model();
      TransformerValue::Options options;
      options.recompute = plan.recompute, options.master_start = needs.master_start;
      parts.critic = std::make_unique<GpuValue>(*critic_, region_, options, plan.format.gradient_only ? OptimizerFormat{} : plan.format);
    }
    if (needs.trains) {
      auto policy = std::make_unique<GpuPolicy>(model_, region_, GpuPolicy::Options{plan.recompute, needs.master_start, plan.format,
                                                                                              needs.lora ? GpuOptimizer::Shard{} : shard_of(needs)});
      if (needs.lora) {
        auto state = std::make_unique<GpuLora>(model_, policy->optimizer(), *needs.lora);
        parts.lora = state.get();
        parts.policy = std::make_unique<LoraPolicy>(std::move(policy), std::move(state));
      } else {
        parts.policy = std::move(policy);
      }
    }
    if (teacher) {
      teacher->reserve(plan.beside_rows);
      parts.teacher = std::move(teacher);
    }
    if (needs.value) {
      TransformerValue::Options options = *needs.value;
      options.recompute = plan.recompute;
      auto value = std::make_unique<GpuValue>(model_, region_, options, plan.format);
      if (needs.lora) {
        auto state = std::make_unique<GpuLora>(model_, value->optimizer(), *needs.lora);
        parts.lora = state.get();
        parts.value = std::make_unique<LoraValue>(std::move(value), std::move(state));
      } else {
        parts.value = std::move(value);
      }
    }
    memory_ = gpu::DeviceMemory(plan.shared);
    region_ = GpuRegion(memory_);
    if (needs.value) return parts;

    if (needs.overlap) {
      rollout_ = copy_of_model();
      rollout_memory_ = gpu::DeviceMemory(plan.sampling);
      rollout_region_ = GpuRegion(rollout_memory_);
    }
    GpuTransformer& sampled = rollout_ ? *rollout_ : model_;
    GpuRegion& region = rollout_ ? rollout_region_ : region_;
    LocalEngineOptions engine = needs.engine;
    if (engine.max_rows == 0) engine.max_rows = kRows;
    if (engine.prefill_tokens_per_step == 0) engine.prefill_tokens_per_step = kPrefill;
    GpuStepOptions step;
    step.max_decode_rows = std::max(engine.max_rows, 64);
    step.max_prefill_rows = engine.prefill_tokens_per_step;
    step.max_kv_bytes = needs.engine.kv_cache_bytes;
    device_ = std::make_unique<GpuStepDevice>(sampled, region, step);
    parts.engine = std::make_unique<PipelinedEngine>(*device_, std::move(tokenizer), engine);
    if (rollout_) model_.set_vocab_limit(rollout_->vocab_limit());  // the engine knows the tokenizer's
    return parts;
  }

  std::unique_ptr<ScoringModel> make_teacher(const BackendModel& model, std::int64_t rows) override {
    auto teacher = load_teacher(model);
    teacher->reserve(rows);
    return teacher;
  }
  std::unique_ptr<KdPass> kd_pass(PolicyModel& student, ScoringModel& teacher) override {
    return std::make_unique<GpuLiveKdPass>(gpu_policy(student), dynamic_cast<GpuTeacher&>(teacher));
  }
  std::unique_ptr<KdPass> kd_pass(PolicyModel& student, TeacherStore& store) override {
    return std::make_unique<GpuStoreKdPass>(gpu_policy(student), store);
  }

  double peak_gb() const override { return static_cast<double>(gpu::used_bytes()) / (1 << 30); }

  void bench_rollout(const std::string& name, const std::vector<RolloutBenchCase>& cases, int repeats, std::ostream& out) override {
    for (const RolloutBenchCase& c : cases) {
      GpuBenchCase one;
      one.what = "rollout", one.model = name, one.repeats = repeats;
      one.sequences = c.sequences, one.prompt = c.prompt_tokens, one.new_tokens = c.new_tokens, one.samples = c.samples;
      run_gpu_bench(model_, one, out);
    }
  }
  void bench_train(const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options, std::ostream& out) override {
    run_gpu_bench(model_, step_case("train", name, c, options), out);
  }
  void bench_grpo(const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options, std::ostream& out) override {
    run_gpu_bench(model_, step_case("grpo", name, c, options), out);
  }

 private:
  static GpuOptimizer::Shard shard_of(const BackendNeeds& needs) { return needs.share.zero == 1 ? GpuOptimizer::Shard{needs.share.rank, needs.share.ranks} : GpuOptimizer::Shard{}; }
  // Losses of whole distributions are made on the device, beside the pairs of a policy that has such.
  static GpuPolicy& gpu_policy(PolicyModel& policy) {
    auto* const with_pairs = dynamic_cast<LoraPolicy*>(&policy);
    return dynamic_cast<GpuPolicy&>(with_pairs ? with_pairs->inner() : policy);
  }
  // Before anything is taken: a model that cannot fit is an error of ours, not of the allocator's.
  static ModelConfig checked(const BackendModel& model, const gpu::DeviceInfo& info) {
    const auto bytes = static_cast<std::size_t>(model.config.num_parameters()) * 2;
    if (bytes > info.memory_free)
      throw ConfigError(message("the model's weights take ", bytes, " bytes, ", info.name, " has ", info.memory_free,
                                " free; use a smaller model, or end other programs on that GPU"));
    return model.config;
  }
  std::unique_ptr<GpuTransformer> copy_of_model() {
    auto copy = std::make_unique<GpuTransformer>(model_.config());
    copy->weights().load(model_.weights().snapshot(0));
    copy->set_vocab_limit(model_.vocab_limit());
    return copy;
  }
  static std::unique_ptr<GpuTeacher> load_teacher(const BackendModel& model) {
    WeightStore host(model.config, DType::kBF16);
    model.load(host);
    auto teacher = std::make_unique<GpuTeacher>(checked(model, gpu::device_info()));
    teacher->load(host.snapshot(0));
    if (model.vocab_limit > 0) teacher->model().set_vocab_limit(model.vocab_limit);
    return teacher;
  }
  static GpuBenchCase step_case(const char* what, const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options) {
    GpuBenchCase one;
    one.what = what, one.model = name, one.repeats = options.repeats;
    one.sequences = c.prompts * c.samples, one.samples = c.samples, one.prompt = c.prompt_tokens, one.new_tokens = c.new_tokens;
    one.optimizer = options.optimizer;
    if (options.recompute) one.recompute = true;
    one.share_prompts = options.share_prompts;
    if (options.tokens_per_micro_batch > 0) one.micro_batch = options.tokens_per_micro_batch;
    return one;
  }

  gpu::DeviceInfo before_;
  GpuTransformer model_;
  std::unique_ptr<GpuTransformer> reference_, critic_, rollout_;  // the last with overlap: the engine's, on a stream of its own
  gpu::DeviceMemory memory_, rollout_memory_;
  GpuRegion region_, rollout_region_;
  std::unique_ptr<GpuStepDevice> device_;
};

}  // namespace

RowScorer make_gpu_scorer(const ModelConfig& config, const WeightStore& weights, std::span<const float> head, std::int64_t rows) {
  const auto scorer = std::make_shared<GpuScorer>(config, rows);
  scorer->model().weights().load(weights.snapshot(0));
  scorer->set_head(head);
  return [scorer](const PackedBatch& batch, std::span<const std::int32_t> chosen) { return scorer->evaluate(batch, chosen); };
}

std::unique_ptr<Backend> make_gpu_backend(const BackendModel& model) { return std::make_unique<GpuBackend>(model); }

}  // namespace r1
