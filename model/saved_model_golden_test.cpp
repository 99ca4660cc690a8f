// transformers loads what we save and computes the same logits; so it does with a real model. Needs R1_GOLDEN_PYTHON (a Python
// with torch and transformers); for the real model R1_TEST_MODEL (an HF directory).
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "core/rng.h"
#include "model/golden_model.h"
#include "model/hf_directory.h"
#include "model/safetensors.h"
#include "model/transformer.h"
#include "tests/support/support.h"

using namespace r1;

namespace {

namespace fs = std::filesystem;

// A few steps against the likelihood of random tokens, correction biases moved: every parameter and buffer of a trained model is its own.
void train(WeightStore& weights, const ModelConfig& config, std::uint64_t seed) {
  ComputePool pool(1);
  Transformer model(config, DType::kF32, pool);
  model.weights().load(weights.snapshot(0));
  for (const Parameter& b : model.weights().buffers())
    for (std::int64_t i = 0; i < b.elements; ++i) model.weights().buffer(b)[i] = 0.05f * static_cast<float>(i % 5 - 2);
  StreamRng rng(seed, 1);
  PackedBatch batch;
  for (std::int32_t t = 0; t < 16; ++t) {
    batch.tokens.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(config.vocab_size))));
    batch.positions.push_back(t);
    if (t > 0) batch.predictors.push_back(t - 1), batch.targets.push_back(batch.tokens.back());
  }
  batch.sequences.push_back({0, 16, -1, -1});
  std::vector<float> first;
  for (int step = 0; step < 3; ++step) {
    model.weights_changed();
    const LogprobRows rows = model.forward(batch, 1.f, false, false);
    if (step == 0) first = rows.logprobs;
    if (step == 2) CHECK(rows.logprobs != first);
    std::vector<float> gradient(static_cast<std::size_t>(model.weights().elements()), 0.f);
    model.backward(std::vector<float>(rows.logprobs.size(), 1.f / static_cast<float>(rows.logprobs.size())), {}, gradient);
    auto* w = reinterpret_cast<float*>(model.weights().data());
    for (std::size_t i = 0; i < gradient.size(); ++i) w[i] += 0.05f * gradient[i];
  }
  weights.load(model.weights().snapshot(0));
}

// Float32 logits of random tokens [2,T] on the weights in `dir`, as a file for check_saved.py.
fs::path write_logits(const fs::path& dir, const fs::path& file, std::int64_t length) {
  const ModelDirectory directory(dir);
  ComputePool pool(2);
  Transformer model(directory.config(), DType::kF32, pool);
  directory.load_into(model.weights());
  model.weights_changed();
  StreamRng rng(17, 0);
  std::vector<std::int64_t> tokens;
  PackedBatch batch;
  std::vector<std::int32_t> rows;
  for (std::int32_t b = 0; b < 2; ++b) {
    for (std::int32_t t = 0; t < length; ++t) {
      tokens.push_back(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(directory.config().vocab_size))));
      batch.tokens.push_back(static_cast<TokenId>(tokens.back()));
      batch.positions.push_back(t);
      rows.push_back(static_cast<std::int32_t>(rows.size()));
    }
    batch.sequences.push_back({b * static_cast<std::int32_t>(length), (b + 1) * static_cast<std::int32_t>(length), -1, -1});
  }
  const std::vector<float> logits = model.logits(batch, rows);
  const std::vector<TensorView> out = {
      {"tokens", DType::kI64, {2, length}, reinterpret_cast<const std::byte*>(tokens.data()), -1},
      {"logits", DType::kF32, {2, length, directory.config().vocab_size}, reinterpret_cast<const std::byte*>(logits.data()), -1}};
  write_safetensors(file, out);
  return file;
}

// With the pairs of folder and logits; the output appears in the test's.
int run_check(const char* python, double tolerance, const std::string& pairs) {
  const std::string command = message("'", python, "' '", R1_SOURCE_DIR, "/tests/golden/check_saved.py' ", tolerance, pairs);
  return std::system(command.c_str());
}

}  // namespace

TEST_CASE("transformers loads what we save of a trained model of every family and gives the same logits; deepseek: independent PyTorch") {
  const char* python = std::getenv("R1_GOLDEN_PYTHON");
  if (python == nullptr) {
    test::skip("R1_GOLDEN_PYTHON is not set");
    return;
  }
  const test::TempDir dir;
  std::string pairs;
  int number = 0;
  for (const std::string& family : test::all_golden_families()) {
    const bool made_in_code = std::find(test::kGoldenFamilies.begin(), test::kGoldenFamilies.end(), family) != test::kGoldenFamilies.end() && number % 2 == 1;
    const test::GoldenModel golden(family);
    WeightStore store(golden.model.config(), DType::kF32);
    init_random(store, 40 + static_cast<std::uint64_t>(number), 0.15f);
    ModelConfig config = golden.model.config();
    train(store, config, static_cast<std::uint64_t>(number));
    if (made_in_code) config.json.clear();
    SaveModelOptions options;
    options.dtype = number % 3 == 0 ? DType::kF32 : number % 3 == 1 ? DType::kBF16 : DType::kF16;
    options.shard_bytes = number % 2 == 0 ? 30000 : 1 << 30;
    const fs::path folder = dir / ("m" + std::to_string(number++));
    save_model_directory(folder, config, store.snapshot(0).tensors, options);
    CHECK(fs::exists(folder / "model.safetensors.index.json") == (options.shard_bytes == 30000));
    const fs::path logits = write_logits(folder, dir / ("l" + std::to_string(number)), 24);
    pairs += message(" '", folder.string(), "' '", logits.string(), "'");
    // Another model's logits, of the same shape: the check can fail.
    if (number == 3) pairs += message(" '", (dir / "m0").string(), "' 'not:", logits.string(), "'");
  }
  CHECK(run_check(python, 5e-6, pairs) == 0);
}

TEST_CASE("a real model: our logits equal those of transformers on a saved copy") {
  const char* python = std::getenv("R1_GOLDEN_PYTHON");
  const char* model_dir = std::getenv("R1_TEST_MODEL");
  if (python == nullptr || model_dir == nullptr) {
    test::skip("R1_GOLDEN_PYTHON and R1_TEST_MODEL are not both set");
    return;
  }
  const test::TempDir dir;
  const fs::path logits = write_logits(model_dir, dir / "logits", 40);
  const ModelDirectory directory(model_dir);
  SaveModelOptions options;
  options.side_files_from = model_dir;
  options.shard_bytes = 100'000'000;
  save_model_directory(dir / "copy", directory.config(), directory.snapshot().tensors, options);
  CHECK(run_check(python, 2e-5, message(" '", (dir / "copy").string(), "' '", logits.string(), "'")) == 0);
}
