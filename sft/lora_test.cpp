// LoRA against PEFT on the same adapter (tests/golden/sft_golden.py), its files, and what merging may not change.
#include "rl/host_lora.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "sft/golden_support.h"
#include "sft/sft_objective.h"
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
    policy = with_lora(model, TransformerPolicy::Options{}, make(golden.model.config()));
  }
  test::GoldenModel golden;
  ComputePool pool;
  Transformer model;
  WeightDigest start{};
  std::unique_ptr<LoraPolicy> policy;
};

OptimizerOptions options(double rate) {
  OptimizerOptions o;
  o.learning_rate.peak = rate;
  o.max_grad_norm = 0;
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
      SftObjective objective(*m.policy, data.examples, {});
      CHECK(test::updates(objective, 1, 30, options(0)).front().at("loss") == doctest::Approx(test::floats_of(expected, "loss")[0]).epsilon(1e-6));
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
    const auto examples = test::random_examples({12, 9}, 96, 4);
    SftObjective objective(*m.policy, examples, examples);
    const double first = objective.evaluate(100).at("eval/loss");
    test::updates(objective, 21, 100, options(0.05));
    CHECK(objective.evaluate(100).at("eval/loss") < first - 0.5);
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
  adapter.merge(pair, adapter.values(), reinterpret_cast<const std::byte*>(base.data()), DType::kBF16, true, reinterpret_cast<std::byte*>(out.data()), pool);
  adapter.merge(pair, adapter.values(), reinterpret_cast<const std::byte*>(base.data()), DType::kBF16, false, reinterpret_cast<std::byte*>(plain.data()), pool);
  CHECK(plain == base);
  const double moved = static_cast<double>(std::count(out.begin(), out.end(), 0x3F81)) / static_cast<double>(n);
  CHECK(moved == doctest::Approx(0.25).epsilon(0.2));
}

TEST_CASE("dropout: a micro-batch's mask scales A's columns in pass and gradient, evaluation knows none, a resumed run repeats the draws") {
  const auto with_dropout = [](double p) {
    return [p](const ModelConfig& c) {
      LoraAdapter a = fresh(c);
      for (float& v : a.values()) v += 0.03f;  // B is not 0: the mask shows
      a.set_dropout(p, 11);
      return a;
    };
  };
  const auto examples = test::random_examples({12, 9, 15}, 96, 4);
  LoraModel m("tiny-llama3", DType::kF32, with_dropout(0.5)), plain("tiny-llama3", DType::kF32, with_dropout(0));
  SftObjective objective(*m.policy, examples, examples), without(*plain.policy, examples, examples);
  // What is evaluated is the whole adapter, before and after passes with masks.
  const Metrics whole = without.evaluate(100);
  CHECK(objective.evaluate(100) == whole);
  const double loss = test::updates(objective, 1, 1, options(0)).front().at("loss");
  CHECK(std::abs(loss - whole.at("eval/loss")) > 1e-4);
  CHECK(objective.evaluate(100) == whole);
  CHECK(m.policy->digest() == plain.policy->digest());

  // Of one micro-batch: dA is 0 in the columns that were left out.
  const std::vector<std::int64_t> all = {0, 1, 2};
  const std::vector<std::int32_t> places = {0, 1, 2};
  m.policy->zero_gradient();
  objective.begin_update(0, all);
  objective.train(places);
  const std::vector<float> gradient = m.policy->gradient();
  std::int64_t dropped = 0, columns = 0;
  for (const LoraPair& p : m.policy->adapter().pairs())
    for (std::int64_t i = 0; i < p.in; ++i, ++columns) {
      bool none = true;
      for (std::int64_t k = 0; k < 4; ++k) none = none && gradient[static_cast<std::size_t>(p.a + k * p.in + i)] == 0;
      dropped += none;
    }
  CHECK(static_cast<double>(dropped) / static_cast<double>(columns) == doctest::Approx(0.5).epsilon(0.1));

  // Each micro-batch has another mask; the same update of the same run has the same ones.
  const auto first_losses = [&](std::uint64_t seed, std::int64_t budget) {
    LoraModel again("tiny-llama3", DType::kF32, with_dropout(0.5));
    const_cast<LoraAdapter&>(again.policy->adapter()).set_dropout(0.5, seed);
    SftObjective o(*again.policy, examples, {});
    return test::updates(o, 3, budget, options(0.01)).back().at("loss");
  };
  CHECK(first_losses(11, 100) == first_losses(11, 100));
  CHECK(first_losses(11, 100) != first_losses(12, 100));
  CHECK(first_losses(11, 100) != doctest::Approx(first_losses(11, 1)).epsilon(1e-7));
  // The state brings the count of updates that the draws are keyed by.
  const auto state = m.policy->optimizer_state();
  CHECK(state.tensors.back().name == "lora.updates");
  CHECK_THROWS_WITH_AS(m.policy->restore_optimizer_state(plain.policy->optimizer_state()), doctest::Contains("lora.updates"), CheckpointError);
}

TEST_CASE("dropout's gradient is the derivative of its loss") {
  // Finite differences of the masked loss in a few values: the mask is keyed, so that a pass can be repeated.
  LoraModel m("tiny-llama3", DType::kF32, [](const ModelConfig& c) {
    LoraAdapter a = fresh(c);
    for (float& v : a.values()) v += 0.05f;
    a.set_dropout(0.3, 5);
    return a;
  });
  const std::vector<SftExample> examples = test::random_examples({12, 9, 15}, 96, 4);
  SftObjective objective(*m.policy, examples, {});
  const std::vector<std::int64_t> all = {0, 1, 2};
  const std::vector<std::int32_t> places = {0, 1, 2};
  const auto loss = [&] {
    m.policy->zero_gradient();  // the first micro-batch of the update again
    objective.begin_update(0, all);
    objective.train(places);
    return objective.report().at("loss");
  };
  loss();
  const std::vector<float> gradient = m.policy->gradient();
  auto& values = const_cast<LoraAdapter&>(m.policy->adapter());
  int compared = 0;
  for (const LoraPair& p : m.policy->adapter().pairs()) {
    for (const std::int64_t at : {p.a + 1, p.a + p.in + 2, p.b + 3}) {
      float& v = values.values()[static_cast<std::size_t>(at)];
      const float start = v, step = 1e-2f;
      v = start + step;
      const double up = loss();
      v = start - step;
      const double down = loss();
      v = start;
      const double want = (up - down) / (2 * static_cast<double>(step));
      CHECK(gradient[static_cast<std::size_t>(at)] == doctest::Approx(want).epsilon(0.02).scale(1e-3));
      ++compared;
    }
  }
  CHECK(compared > 20);
}

TEST_CASE("PEFT directories: out and in again, and what is refused") {
  const test::TempDir dir;
  LoraModel m("tiny-llama3", DType::kF32, fresh);
  SftObjective objective(*m.policy, test::random_examples({12}, 96, 4), {});
  test::updates(objective, 1, 100, options(0.05));
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
  CHECK_FALSE(m.policy->find_non_finite(ParameterPart::kGradient).has_value());
  const_cast<LoraAdapter&>(m.policy->adapter()).values()[0] = INFINITY;
  CHECK(m.policy->find_non_finite(ParameterPart::kMaster)->tensor.find("lora_A") != std::string::npos);
}

}  // namespace r1
