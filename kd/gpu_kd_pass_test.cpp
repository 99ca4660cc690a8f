// Distillation on the GPU against kd_row() over float32 models of the same weights: losses and gradients, live and stored teachers.
#include "kd/gpu_kd_pass.h"

#include <cmath>
#include <numeric>

#include "model/gpu/gpu_model_test_support.h"
#include "rl/test_support.h"
#include "rl/transformer_policy.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using namespace gpu_model_test;

constexpr std::int64_t kIds = 500;  // of 503

// One model: float32 and bfloat16 on the CPU, and on the GPU.
struct Model {
  ComputePool pool{2};
  Transformer exact, rough;
  TransformerPolicy exact_policy, rough_policy;
  Model(const std::string& type, std::uint64_t seed)
      : exact(small_config(type), DType::kF32, pool), rough(small_config(type), DType::kBF16, pool), exact_policy(exact), rough_policy(rough) {
    give_weights(rough.weights(), seed);
    exact.weights().load(rough.weights().snapshot(0));
    for (Transformer* t : {&exact, &rough}) t->weights_changed(), t->set_vocab_limit(kIds);
  }
};

struct GpuStudent {
  GpuTransformer model;
  gpu::DeviceMemory memory{std::size_t{256} << 20};
  GpuRegion region{memory};
  std::unique_ptr<GpuPolicy> policy;
  GpuStudent(const ModelConfig& config, const WeightSnapshot& weights) : model(config) {
    model.weights().load(weights);
    model.set_vocab_limit(kIds);
    policy = std::make_unique<GpuPolicy>(model, region, GpuPolicy::Options{});
  }
};

std::vector<TrainSample> some_texts() { return test::make_samples(4, 3, static_cast<std::int32_t>(kIds)); }

MicroBatch all_of(const std::vector<TrainSample>& texts) {
  std::vector<std::int32_t> chosen(texts.size());
  std::iota(chosen.begin(), chosen.end(), 0);
  return build_micro_batch(texts, chosen);
}

double mean_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

const std::vector<KdOptions>& kinds() {
  static const std::vector<KdOptions> all = {{Divergence::kForward, 0.5, 1},   {Divergence::kReverse, 0.5, 1},   {Divergence::kJsd, 0.5, 1},
                                             {Divergence::kForward, 0.5, 1.5}, {Divergence::kReverse, 0.5, 1.5}, {Divergence::kJsd, 0.1, 1.5}};
  return all;
}

// Losses and gradients of the three students against their own kind of teacher; the GPU's is no further from the exact one than twice the
// CPU's in bfloat16, and 1 %.
void compare(Model& student, GpuStudent& on_gpu, KdPass& exact, KdPass& rough, KdPass& gpu_pass, const MicroBatch& batch, const KdOptions& o) {
  const double weight = 1e-2;
  student.exact_policy.zero_gradient(), student.rough_policy.zero_gradient(), on_gpu.policy->zero_gradient();
  const auto want = exact.train(batch, o, weight), near = rough.train(batch, o, weight), got = gpu_pass.train(batch, o, weight);
  REQUIRE(got.size() == batch.tokens.size());
  const double scale = std::accumulate(want.begin(), want.end(), 0.0) / static_cast<double>(want.size());
  INFO("divergence ", static_cast<int>(o.divergence), " beta ", o.beta, " t ", o.temperature, ": losses of ", scale, " differ by ", mean_difference(got, want),
       " (CPU bfloat16: ", mean_difference(near, want), ")");
  CHECK(mean_difference(got, want) < 2 * mean_difference(near, want) + 1e-4);
  const auto g = student.exact_policy.gradient(), of_cpu = student.rough_policy.gradient(), of_gpu = on_gpu.policy->gradient();
  INFO("gradients differ by ", relative_error(of_gpu, g), " (CPU bfloat16: ", relative_error(of_cpu, g), ")");
  CHECK(relative_error(of_gpu, g) < 2 * relative_error(of_cpu, g) + 0.01);
}

}  // namespace

TEST_CASE("distillation from a teacher on the same GPU: losses and gradients are the CPU's within bfloat16") {
  R1_NEEDS_GPU();
  Model student("qwen2", 11), teacher("qwen3", 12);
  GpuStudent on_gpu(small_config("qwen2"), student.rough.weights().snapshot(0));
  GpuTeacher gpu_teacher(small_config("qwen3"));
  gpu_teacher.load(teacher.rough.weights().snapshot(0));
  gpu_teacher.model().set_vocab_limit(kIds);
  const auto texts = some_texts();
  const MicroBatch batch = all_of(texts);
  gpu_teacher.reserve(static_cast<std::int64_t>(batch.batch.tokens.size()));
  LiveTeacher exact_teacher(teacher.exact_policy), rough_teacher(teacher.rough_policy);
  HostKdPass exact(student.exact_policy, exact_teacher, student.pool), rough(student.rough_policy, rough_teacher, student.pool);
  GpuLiveKdPass live(*on_gpu.policy, gpu_teacher);
  for (const KdOptions& o : kinds()) {
    compare(student, on_gpu, exact, rough, live, batch, o);
    // Evaluations are the losses of training, bit for bit, and leave the gradient alone.
    const std::vector<float> before = on_gpu.policy->gradient();
    const KdOptions both[2] = {{Divergence::kForward, 0.5, o.temperature}, o};
    const auto trained = live.train(batch, o, 0), evaluated = live.evaluate(batch, both);
    REQUIRE(evaluated.size() == 2 * trained.size());
    for (std::size_t i = 0; i < trained.size(); ++i) CHECK(evaluated[2 * i + 1] == trained[i]);
    CHECK(gpu::test::same_bits(before, on_gpu.policy->gradient()));
  }
  // The student as its own teacher: nothing to learn.
  GpuTeacher self(small_config("qwen2"));
  self.load(student.rough.weights().snapshot(0));
  self.model().set_vocab_limit(kIds);
  self.reserve(static_cast<std::int64_t>(batch.batch.tokens.size()));
  GpuLiveKdPass of_self(*on_gpu.policy, self);
  for (const double loss : of_self.train(batch, {Divergence::kForward, 0.5, 1}, 1)) CHECK(std::abs(loss) < 1e-5);
}

TEST_CASE("distillation from a store on the GPU; the teacher's rows and log-probabilities on the host are the device's") {
  R1_NEEDS_GPU();
  Model student("llama", 11), teacher("llama", 12);
  GpuStudent on_gpu(small_config("llama"), student.rough.weights().snapshot(0));
  GpuTeacher gpu_teacher(small_config("llama"));
  gpu_teacher.load(teacher.rough.weights().snapshot(0));
  gpu_teacher.model().set_vocab_limit(kIds);
  gpu_teacher.reserve(1024);
  const auto texts = some_texts();
  const MicroBatch batch = all_of(texts);
  for (const int k : {8, static_cast<int>(kIds)}) {
    for (const double t : {1.0, 1.5}) {
      // Made by the GPU's teacher, read by all three.
      TeacherStore store(gpu_teacher, {"t", k, t}, texts, 512, student.pool);
      HostKdPass exact(student.exact_policy, store, student.pool), rough(student.rough_policy, store, student.pool);
      GpuStoreKdPass stored(*on_gpu.policy, store);
      for (const KdOptions& o : kinds())
        if (o.temperature == t) compare(student, on_gpu, exact, rough, stored, batch, o);
      // The whole vocabulary in a store is the teacher.
      if (k == kIds) {
        GpuLiveKdPass live(*on_gpu.policy, gpu_teacher);
        const KdOptions o{Divergence::kForward, 0.5, t};
        CHECK(mean_difference(live.train(batch, o, 0), stored.train(batch, o, 0)) < 1e-4);
      }
      CHECK_THROWS_AS(stored.train(batch, {Divergence::kForward, 0.5, t + 1}, 1), Error);
    }
  }
  const auto want = teacher.exact_policy.evaluate(batch.batch, 1.f, false), near = teacher.rough_policy.evaluate(batch.batch, 1.f, false),
             got = gpu_teacher.evaluate(batch.batch, 1.f, false);
  double worst = 0, worst_cpu = 0;
  for (std::size_t i = 0; i < got.logprobs.size(); ++i) {
    worst = std::max(worst, std::abs(double{got.logprobs[i]} - want.logprobs[i]));
    worst_cpu = std::max(worst_cpu, std::abs(double{near.logprobs[i]} - want.logprobs[i]));
  }
  CHECK(worst < 2 * worst_cpu + 1e-3);
  GpuTeacher without_memory(small_config("llama"));
  CHECK_THROWS_AS(without_memory.evaluate(batch.batch, 1.f, false), Error);
}

TEST_CASE("a student approaches its teacher on the GPU") {
  R1_NEEDS_GPU();
  Model student("llama", 11), teacher("llama", 12);
  GpuStudent on_gpu(small_config("llama"), student.rough.weights().snapshot(0));
  GpuTeacher gpu_teacher(small_config("llama"));
  gpu_teacher.load(teacher.rough.weights().snapshot(0));
  gpu_teacher.model().set_vocab_limit(kIds);
  gpu_teacher.reserve(1024);
  const auto texts = some_texts();
  const MicroBatch batch = all_of(texts);
  GpuLiveKdPass live(*on_gpu.policy, gpu_teacher);
  double first = 0, last = 0;
  for (int update = 1; update <= 40; ++update) {
    on_gpu.policy->zero_gradient();
    const auto losses = live.train(batch, {Divergence::kForward, 0.5, 1}, 1.0 / static_cast<double>(batch.tokens.size()));
    last = std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
    if (update == 1) first = last;
    AdamWStep step;
    step.learning_rate = 2e-3, step.update = update;
    on_gpu.policy->adamw(step);
  }
  INFO("forward KL ", first, " -> ", last);
  CHECK(last < 0.5 * first);
}

}  // namespace r1
