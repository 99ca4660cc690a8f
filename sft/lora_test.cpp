// LoRA against PEFT on the same adapter (tests/golden/sft_golden.py), its files, and what merging may not change.
#include "rl/lora_policy.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "sft/golden_support.h"
#include "sft/sft_learner.h"
#include "sft/test_support.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

// A golden model in float32 or bfloat16 below an adapter.
struct LoraModel {
  LoraModel(const std::string& family, DType dtype, const std::function<LoraAdapter(const ModelConfig&)>& make, int threads = 1)
      : golden(family), pool(threads), model(golden.model.config(), dtype, pool) {
    model.weights().load(golden.model.snapshot());
    model.weights_changed();
    start = model.weights().digest();
    TransformerPolicy::Options options;
    options.parts = ArenaParts::kGradient;
    policy = std::make_unique<LoraPolicy>(std::make_unique<TransformerPolicy>(model, options), make(golden.model.config()), pool);
  }
  test::GoldenModel golden;
  ComputePool pool;
  Transformer model;
  WeightDigest start{};
  std::unique_ptr<LoraPolicy> policy;
};

SftOptions options(std::int64_t budget, double rate) {
  SftOptions o;
  o.tokens_per_micro_batch = budget;
  o.optimizer.learning_rate.peak = rate;
  o.optimizer.max_grad_norm = 0;
  return o;
}

LoraAdapter fresh(const ModelConfig& config) {
  LoraOptions o;
  o.rank = 4, o.alpha = 8, o.seed = 3;
  return LoraAdapter(config, o);
}

// |B A| at most, so that a rounding boundary is crossed by a share of the weights.
void set_values(LoraAdapter& adapter, float a, float b) {
  for (const LoraPair& p : adapter.pairs()) {
    std::fill_n(adapter.values().begin() + p.a, adapter.options().rank * p.in, a);
    std::fill_n(adapter.values().begin() + p.b, adapter.options().rank * p.out, b);
  }
}

}  // namespace

TEST_CASE("forward and gradients equal PEFT's") {
  const std::pair<const char*, const char*> cases[] = {{"lora_all", "tiny-llama3"}, {"lora_qv", "tiny-qwen2-tied"}};
  for (const auto& [name, family] : cases) {
    for (int threads : {1, 3}) {
      CAPTURE(name);
      const std::filesystem::path dir = test::golden_sft() / name;
      const SafetensorsFile expected(dir / "expected.safetensors");
      const test::SftGolden data(family);
      LoraModel m(family, DType::kF32, [&](const ModelConfig& c) { return LoraAdapter::load(dir, c); }, threads);
      SftLearner learner(*m.policy, options(30, 0));
      const StepReport report = learner.update(test::pointers(data.examples));
      CHECK(report.metrics.at("loss") == doctest::Approx(test::floats_of(expected, "loss")[0]).epsilon(1e-6));
      const std::vector<float> gradient = m.policy->gradient();
      CHECK(m.policy->adapter().parameters().size() == expected.tensors().size() - 2);
      for (const Parameter& p : m.policy->adapter().parameters()) {
        CAPTURE(p.name);
        CHECK(test::relative_error(gradient.data() + p.offset, static_cast<std::size_t>(p.elements), test::floats_of(expected, "grad." + p.name)) <
              2e-5);
      }
    }
  }
}

TEST_CASE("a new adapter changes nothing, an update changes the chosen matrices alone") {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    LoraModel m("tiny-qwen2-tied", dtype, [](const ModelConfig& c) {
      LoraOptions o;
      o.rank = 2, o.targets = {"q_proj", "down_proj"};
      return LoraAdapter(c, o);
    });
    CHECK(m.policy->adapter().pairs().size() == 4);
    CHECK(m.model.weights().digest() == m.start);
    const WeightStore before = load_model(m.golden.model.path(), dtype).weights;
    SftLearner learner(*m.policy, options(100, 0.05));
    const auto examples = test::random_examples({12, 9}, 96, 4);
    const double first = learner.update(test::pointers(examples)).metrics.at("loss");
    for (int i = 0; i < 20; ++i) learner.update(test::pointers(examples));
    CHECK(learner.evaluate(test::pointers(examples)).at("eval/loss") < first - 0.5);
    for (const Parameter& p : m.model.weights().parameters()) {
      CAPTURE(p.name);
      const bool chosen = p.name.ends_with("q_proj.weight") || p.name.ends_with("down_proj.weight");
      const bool same = std::memcmp(m.model.weights().at(p), before.at(p), static_cast<std::size_t>(p.elements) * size_of(dtype)) == 0;
      CHECK(same != chosen);
    }
  }
}

TEST_CASE("bfloat16 weights follow updates below their rounding on average") {
  LoraModel m("tiny-llama3", DType::kBF16, fresh);
  LoraAdapter adapter = m.policy->adapter();
  const LoraPair& pair = adapter.pairs().front();
  const auto n = static_cast<std::size_t>(pair.out * pair.in);
  // Bases of 1: a cell is 2^-7 wide above it; a change of a quarter of that moves a quarter of the weights.
  std::vector<std::uint16_t> base(n, 0x3F80), out(n), plain(n);
  set_values(adapter, 1.f, static_cast<float>(0.0078125 / 4 / 4 / adapter.options().scale()));
  ComputePool pool(1);
  adapter.merge(pair, reinterpret_cast<const std::byte*>(base.data()), DType::kBF16, true, reinterpret_cast<std::byte*>(out.data()), pool);
  adapter.merge(pair, reinterpret_cast<const std::byte*>(base.data()), DType::kBF16, false, reinterpret_cast<std::byte*>(plain.data()), pool);
  CHECK(plain == base);
  const double moved = static_cast<double>(std::count(out.begin(), out.end(), 0x3F81)) / static_cast<double>(n);
  CHECK(moved == doctest::Approx(0.25).epsilon(0.2));
}

TEST_CASE("PEFT directories: out and in again, and what is refused") {
  const test::TempDir dir;
  LoraModel m("tiny-llama3", DType::kF32, fresh);
  SftLearner learner(*m.policy, options(100, 0.05));
  learner.update(test::pointers(test::random_examples({12}, 96, 4)));
  m.policy->adapter().save(dir.path(), "some/base");
  CHECK(LoraAdapter::is_adapter(dir.path()));
  CHECK(LoraAdapter::base_model(dir.path()) == "some/base");
  const LoraAdapter again = LoraAdapter::load(dir.path(), m.golden.model.config());
  CHECK(std::equal(again.values().begin(), again.values().end(), m.policy->adapter().values().begin(), m.policy->adapter().values().end()));
  CHECK(again.options().alpha == 8);
  // Merged into the base, the weights are those of the run.
  WeightStore store = load_model(m.golden.model.path(), DType::kF32).weights;
  again.merge_into(store, m.pool);
  CHECK(store.digest() == m.model.weights().digest());

  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string text = read_file(dir / "adapter_config.json");
    text.replace(text.find(from), from.size(), to);
    const test::TempDir other;
    write_file_atomic(other / "adapter_config.json", text);
    std::filesystem::copy_file(dir / "adapter_model.safetensors", other / "adapter_model.safetensors");
    try {
      LoraAdapter::load(other.path(), m.golden.model.config());
    } catch (const CheckpointError& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(refused("\"use_dora\": false", "\"use_dora\": true").find("use_dora") != std::string::npos);
  CHECK(refused("\"bias\": \"none\"", "\"bias\": \"all\"").find("bias") != std::string::npos);
  CHECK(refused("\"LORA\"", "\"IA3\"").find("peft_type") != std::string::npos);
  CHECK(refused("\"r\": 4", "\"r\": 8").find("r = 8") != std::string::npos);
  CHECK_THROWS_WITH_AS(LoraAdapter::load(dir.path(), test::GoldenModel("tiny-qwen2").model.config()), doctest::Contains("lora_"), CheckpointError);
  LoraOptions unknown;
  unknown.targets = {"query_key_value"};
  CHECK_THROWS_WITH_AS(LoraAdapter(m.golden.model.config(), unknown), doctest::Contains("q_proj"), ConfigError);
  CHECK((LoraOptions{16, 8, {}, true, 0}).scale() == 2);
  CHECK((LoraOptions{16, 8, {}, false, 0}).scale() == 0.5);
}

TEST_CASE("a bad number in the model's gradient names the model's tensor") {
  LoraModel m("tiny-llama3", DType::kF32, fresh);
  SftLearner learner(*m.policy, options(100, 0.05));
  CHECK_FALSE(m.policy->find_non_finite(ParameterPart::kGradient).has_value());
  const_cast<LoraAdapter&>(m.policy->adapter()).values()[0] = INFINITY;
  CHECK(m.policy->find_non_finite(ParameterPart::kMaster)->tensor.find("lora_A") != std::string::npos);
}

}  // namespace r1
