// GpuPolicy with every format of the optimizer's state: gradients, steps, checkpoints and exact resume.
#include "rl/gpu_policy.h"

#include <cmath>
#include <cstring>
#include <map>

#include "core/error.h"
#include "kernels/gpu/test_support.h"
#include "rl/gpu_test_support.h"

namespace r1 {
namespace {

using gpu::test::Random;

using test::small_config;

PackedBatch sequences(std::uint64_t seed) {
  PackedBatch b;
  Random random(seed);
  for (int s = 0; s < 4; ++s) {
    const auto begin = static_cast<std::int32_t>(b.tokens.size());
    for (std::int32_t i = 0; i < 50; ++i) {
      b.tokens.push_back(random.below(503)), b.positions.push_back(i);
      b.predictors.push_back(begin + i), b.targets.push_back(random.below(503));
    }
    b.sequences.push_back({begin, begin + 50, -1, -1});
  }
  return b;
}

const std::vector<OptimizerFormat>& formats() {
  static const std::vector<OptimizerFormat> all = [] {
    std::vector<OptimizerFormat> out;
    for (const auto master : {MasterFormat::kFloat32, MasterFormat::kSplit})
      for (const auto moments : {MomentFormat::kFloat32, MomentFormat::k8Bit})
        for (const auto gradients : {GradientFormat::kFloat32, GradientFormat::kBFloat16}) out.push_back({master, moments, gradients});
    return out;
  }();
  return all;
}

struct Run {
  GpuTransformer model{small_config()};
  gpu::DeviceMemory memory{std::size_t{128} << 20};
  GpuRegion region{memory};
  std::unique_ptr<GpuPolicy> policy;
  double likelihood = 0;  // mean, of the last batch before its step
  explicit Run(OptimizerFormat format, MasterStart start = MasterStart::kSpread) {
    model.weights().init_random(3, 0.08f);
    policy = std::make_unique<GpuPolicy>(model, region, GpuPolicy::Options{false, start, format});
  }
  void gradient(int micro_batches, std::uint64_t seed) {
    policy->zero_gradient();
    likelihood = 0;
    for (int i = 0; i < micro_batches; ++i) {
      const LogprobRows rows = policy->forward(sequences(seed + static_cast<std::uint64_t>(i)), 1.f, false);
      for (float l : rows.logprobs) likelihood += static_cast<double>(l) / static_cast<double>(rows.logprobs.size()) / micro_batches;
      policy->backward(std::vector<float>(rows.logprobs.size(), -1.f / 200), {});
    }
  }
  // Maximum likelihood of the same few batches over and over.
  void train(int from, int to) {
    for (int update = from; update <= to; ++update) {
      gradient(2, 40);
      AdamWStep step;
      step.learning_rate = 2e-3, step.weight_decay = 0.01, step.update = update, step.gradient_scale = 0.5;
      policy->adamw(step);
    }
  }
};

bool same(const WeightSnapshot& a, const WeightSnapshot& b) {
  if (a.tensors.size() != b.tensors.size()) return false;
  for (std::size_t i = 0; i < a.tensors.size(); ++i)
    if (a.tensors[i].name != b.tensors[i].name || a.tensors[i].bytes() != b.tensors[i].bytes() ||
        std::memcmp(a.tensors[i].data, b.tensors[i].data, a.tensors[i].bytes()) != 0)
      return false;
  return true;
}

}  // namespace

TEST_CASE("every format resumes with the same bits, and its live weights are its rounded master") {
  R1_NEEDS_GPU();
  for (const OptimizerFormat& f : formats()) {
    CAPTURE(to_string(f));
    Run whole(f), first(f), second(f, MasterStart::kExact);
    whole.train(1, 6);
    first.train(1, 3);
    const WeightSnapshot state = first.policy->optimizer_state();
    second.train(1, 1);  // something else to begin with
    second.policy->restore_optimizer_state(state);
    CHECK(second.policy->digest() == first.policy->digest());
    CHECK(same(second.policy->optimizer_state(), state));
    second.train(4, 6);
    CHECK(second.policy->digest() == whole.policy->digest());
    const WeightSnapshot end = whole.policy->optimizer_state(), live = whole.policy->host_weights(0);
    CHECK(same(second.policy->optimizer_state(), end));
    std::map<std::string, const TensorView*> by_name;
    for (const TensorView& t : end.tensors) by_name[t.name] = &t;
    std::int64_t wrong = 0;
    for (const TensorView& t : live.tensors) {
      const auto* master = reinterpret_cast<const float*>(by_name.at("master." + t.name)->data);
      const auto* bits = reinterpret_cast<const gpu::bf16*>(t.data);
      for (std::int64_t k = 0; k < t.elements(); ++k) wrong += bits[k] != gpu::test::bf16_of(master[k]);
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("every format learns what float32 learns") {
  R1_NEEDS_GPU();
  const auto loss_after = [](const OptimizerFormat& f) {
    Run run(f);
    run.train(1, 40);
    return -run.likelihood;
  };
  const double start = [] {
    Run run({});
    run.gradient(2, 40);
    return -run.likelihood;
  }();
  const double whole = loss_after({});
  CHECK(whole < 0.1 * start);
  for (const OptimizerFormat& f : formats()) {
    const double loss = loss_after(f);
    INFO(to_string(f), ": loss ", loss, ", float32 ", whole, ", at the start ", start);
    // A fiftieth of what was learnt; with float32 moments and gradient a split master has the same bits but for ties.
    CHECK(std::fabs(loss - whole) < 0.02 * (start - whole));
  }
}

TEST_CASE("master and moments in the host's memory: the bits of the device, however small the pieces, through a checkpoint too") {
  R1_NEEDS_GPU();
  for (const OptimizerFormat& f : formats()) {
    if (f.moments == MomentFormat::k8Bit) continue;
    for (const std::int64_t piece : {std::int64_t{992}, std::int64_t{8192}, std::int64_t{1} << 22}) {
      OptimizerFormat g = f;
      g.offload = true, g.offload_piece = piece;
      CAPTURE(to_string(g));
      CAPTURE(piece);
      Run device(f), host(g);
      device.train(1, 4), host.train(1, 4);
      CHECK_FALSE(host.policy->find_non_finite(ParameterPart::kMaster).has_value());
      CHECK(host.policy->digest() == device.policy->digest());
      const WeightSnapshot state = host.policy->optimizer_state();
      CHECK(same(state, device.policy->optimizer_state()));
      // The state goes on on the other one.
      Run host_again(g, MasterStart::kExact), device_again(f, MasterStart::kExact);
      host_again.train(1, 1);
      host_again.policy->restore_optimizer_state(device.policy->optimizer_state()), device_again.policy->restore_optimizer_state(state);
      CHECK(host_again.policy->digest() == device.policy->digest());
      for (Run* run : {&device, &host, &host_again, &device_again}) run->train(5, 7);
      for (Run* run : {&host, &host_again, &device_again}) CHECK(run->policy->digest() == device.policy->digest());
      CHECK(same(host_again.policy->optimizer_state(), device.policy->optimizer_state()));
    }
  }
}

TEST_CASE("a state goes from one format to another") {
  R1_NEEDS_GPU();
  for (const OptimizerFormat& from : formats()) {
    if (from.gradients == GradientFormat::kBFloat16) continue;
    Run a(from);
    a.train(1, 3);
    const WeightSnapshot state = a.policy->optimizer_state();
    for (const OptimizerFormat& to : formats()) {
      CAPTURE(to_string(from));
      CAPTURE(to_string(to));
      Run b(to);
      b.policy->restore_optimizer_state(state);
      CHECK(b.policy->digest() == a.policy->digest());
      // There and back: codes have exact float32 values, which give the codes' values again.
      if (from.moments == MomentFormat::k8Bit && to.moments == MomentFormat::kFloat32) {
        Run c(from);
        c.policy->restore_optimizer_state(b.policy->optimizer_state());
        a.train(4, 4), c.train(4, 4);
        CHECK(c.policy->digest() == a.policy->digest());
        a.policy->restore_optimizer_state(state);
      }
    }
  }
  Run r({MasterFormat::kSplit, MomentFormat::k8Bit, GradientFormat::kFloat32});
  WeightSnapshot state = r.policy->optimizer_state();
  std::erase_if(state.tensors, [](const TensorView& t) { return t.name == "exp_avg_sq_scale.model.norm.weight"; });
  CHECK_THROWS_WITH_AS(r.policy->restore_optimizer_state(state), doctest::Contains("exp_avg_sq_scale.model.norm.weight"), CheckpointError);
}

TEST_CASE("a bfloat16 gradient is the float32 one, rounded once a micro-batch in every tensor") {
  R1_NEEDS_GPU();
  for (const int micro_batches : {1, 4}) {
    Run whole({}), half({MasterFormat::kFloat32, MomentFormat::kFloat32, GradientFormat::kBFloat16});
    whole.gradient(micro_batches, 60), half.gradient(micro_batches, 60);
    const std::vector<float> want = whole.policy->gradient(), got = half.policy->gradient();
    for (const Parameter& p : whole.model.weights().parameters()) {
      double error = 0, norm = 0;
      for (std::int64_t i = p.offset; i < p.offset + p.elements; ++i) {
        const auto k = static_cast<std::size_t>(i);
        error += (double{got[k]} - want[k]) * (double{got[k]} - want[k]), norm += double{want[k]} * want[k];
      }
      INFO(p.name, ", ", micro_batches, " micro-batches: relative error ", std::sqrt(error / norm));
      CHECK(norm > 0);
      // 2^-9 at most a rounding; a tied embedding has two a micro-batch.
      CHECK(std::sqrt(error / norm) <= std::sqrt(2.0 * micro_batches) / 512);
      CHECK(error > 0);
    }
    const double sum = half.policy->gradient_sum_of_squares();
    double own = 0;
    for (float g : got) own += double{g} * g;
    CHECK(sum == doctest::Approx(own).epsilon(1e-12));
  }
}

TEST_CASE("float32 weights from a file are the split master to the last bit, and bad numbers are found in both parts") {
  R1_NEEDS_GPU();
  Run r({MasterFormat::kSplit, MomentFormat::k8Bit, GradientFormat::kBFloat16});
  WeightStore host(small_config(), DType::kF32);
  init_random(host, 5, 0.08f);
  r.policy->load(host.snapshot(0));
  const WeightSnapshot state = r.policy->optimizer_state();
  std::int64_t differing = 0;
  for (const TensorView& t : host.snapshot(0).tensors)
    for (const TensorView& s : state.tensors)
      if (s.name == "master." + t.name)
        for (std::int64_t k = 0; k < t.elements(); ++k)
          differing += std::fabs(reinterpret_cast<const float*>(t.data)[k] - reinterpret_cast<const float*>(s.data)[k]) >
                       1.2e-7f * std::fabs(reinterpret_cast<const float*>(t.data)[k]);
  CHECK(differing == 0);
  CHECK_FALSE(r.policy->find_non_finite(ParameterPart::kMaster).has_value());
  CHECK_FALSE(r.policy->find_non_finite(ParameterPart::kGradient).has_value());
  r.gradient(1, 60);
  AdamWStep step;
  step.learning_rate = INFINITY;
  r.policy->adamw(step);
  CHECK(r.policy->find_non_finite(ParameterPart::kMaster).has_value());
  r.policy->forward(sequences(60), 1.f, false);
  r.policy->backward(std::vector<float>(200, 1.f), {});
  CHECK(r.policy->find_non_finite(ParameterPart::kGradient).has_value());
  CHECK_FALSE(std::isfinite(r.policy->gradient_sum_of_squares()));
}

}  // namespace r1
