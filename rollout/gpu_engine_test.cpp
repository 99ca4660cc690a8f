// The engine on the GPU: completions do not depend on batching, chunks, preemption or graphs, and their log-probabilities have the bits
// of the learner's pass.
#include <algorithm>
#include <cstring>
#include <map>

#include "core/rng.h"
#include "kernels/gpu/test_support.h"
#include "model/gpu/gpu_training.h"
#include "rollout/gpu_step_device.h"
#include "rollout/pipelined_engine.h"

namespace r1 {
namespace {

ModelConfig config_of(const std::string& type) {
  ModelConfig c;
  c.model_type = type;
  c.hidden_size = 128, c.num_hidden_layers = 3, c.num_attention_heads = type == "qwen3" ? 4 : 8, c.num_key_value_heads = 2;
  c.head_dim = type == "qwen3" ? 128 : 64;
  c.intermediate_size = 256, c.vocab_size = 512, c.max_position_embeddings = 2048;
  c.rms_norm_eps = 1e-5f;
  c.tie_word_embeddings = true;
  c.qkv_bias = type == "qwen2";
  c.qk_norm = type == "qwen3";
  c.eos_token_ids = {510};
  return c;
}

std::vector<RolloutRequest> make_requests(std::uint64_t seed, int longest) {
  StreamRng rng(seed, 1);
  std::vector<RolloutRequest> out;
  for (std::uint64_t i = 0; i < 12; ++i) {
    RolloutRequest r;
    r.prompt.id = "p" + std::to_string(i);
    const auto n = 1 + rng.below(static_cast<std::uint64_t>(longest));
    for (std::uint64_t j = 0; j < n; ++j) r.prompt.tokens.push_back(static_cast<TokenId>(rng.below(510)));
    r.samples = 1 + static_cast<int>(rng.below(6));
    r.sampling.max_new_tokens = 1 + static_cast<int>(rng.below(90));
    r.sampling.want_entropy = true;
    if (i % 5 == 4) r.sampling.temperature = 0.f;
    if (i % 5 == 3) r.sampling.top_p = 0.8f, r.sampling.top_k = 50;
    r.key = {42, 3, i, 0};
    out.push_back(std::move(r));
  }
  return out;
}

using Results = std::vector<SampleGroup>;
bool same(const Results& a, const Results& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t s = 0; s < a[i].completions.size(); ++s) {
      const Completion &x = a[i].completions[s], &y = b[i].completions[s];
      if (x.tokens != y.tokens || x.stop != y.stop || std::memcmp(x.logprobs.data(), y.logprobs.data(), x.logprobs.size() * 4) != 0 ||
          std::memcmp(x.entropies.data(), y.entropies.data(), x.entropies.size() * 4) != 0)
        return false;
    }
  return true;
}

struct Setup { int rows; int prefill; std::int64_t pages; bool graphs, cache, sharing; };

Results run(GpuTransformer& model, const std::vector<RolloutRequest>& requests, const Setup& setup, std::int64_t* preemptions = nullptr) {
  GpuStepOptions device_options;
  device_options.max_decode_rows = std::max(setup.rows, 64), device_options.max_prefill_rows = 512, device_options.graphs = setup.graphs;
  const gpu::DeviceMemory memory(std::size_t{512} << 20);
  gpu::fill_bytes(model.stream(), memory.data(), 0xff, memory.bytes());  // NaN wherever nothing was written
  GpuRegion region(memory);
  GpuStepDevice device(model, region, device_options);
  // A smaller pool by holding on to fewer blocks: the engine believes the device.
  struct Fewer : StepDevice {
    StepDevice& d;
    std::int32_t n;
    Fewer(StepDevice& device, std::int32_t blocks) : d(device), n(blocks) {}
    const ModelConfig& config() const override { return d.config(); }
    std::int32_t blocks() const override { return std::min(n, d.blocks()); }
    std::int32_t block_size() const override { return d.block_size(); }
    std::int32_t max_decode_rows() const override { return d.max_decode_rows(); }
    std::int32_t max_prefill_rows() const override { return d.max_prefill_rows(); }
    std::int32_t slots() const override { return d.slots(); }
    int max_in_flight() const override { return d.max_in_flight(); }
    std::int64_t vocab_limit() const override { return d.vocab_limit(); }
    void set_vocab_limit(std::int64_t limit) override { d.set_vocab_limit(limit); }
    void launch(const DeviceStep& step) override { d.launch(step); }
    std::span<const DeviceDraw> collect() override { return d.collect(); }
    void load_weights(const WeightSnapshot& s) override { d.load_weights(s); }
    WeightDigest digest() const override { return d.digest(); }
  } fewer(device, static_cast<std::int32_t>(setup.pages));
  LocalEngineOptions options;
  options.max_rows = setup.rows, options.prefill_tokens_per_step = setup.prefill, options.prefix_cache = setup.cache, options.prefix_sharing = setup.sharing;
  PipelinedEngine engine(fewer, nullptr, options);
  Results first = generate(engine, requests);
  CHECK(same(first, generate(engine, requests)));  // on a warm cache, by graphs that exist
  if (preemptions) *preemptions = engine.stats().preemptions;
  return first;
}

}  // namespace

TEST_CASE("the same bits for any rows, chunks, pool, with and without graphs, cache and sharing") {
  R1_NEEDS_GPU();
  for (const char* type : {"llama", "qwen2", "qwen3"}) {
    GpuTransformer model(config_of(type));
    model.weights().init_random(3, 0.15f);
    for (const int longest : {40, 400}) {
      const auto requests = make_requests(static_cast<std::uint64_t>(longest), longest);
      const Results want = run(model, requests, {64, 512, 4000, true, true, true});
      std::int64_t preemptions = 0, total = 0;
      for (const Setup& s : {Setup{64, 512, 4000, false, true, true}, Setup{3, 50, 4000, true, true, true}, Setup{16, 17, 4000, true, false, true},
                             Setup{40, 512, 4000, true, false, false}, Setup{64, 200, 12, true, true, true}, Setup{64, 512, 12, false, false, true}}) {
        INFO(type, " ", longest, ": rows ", s.rows, " prefill ", s.prefill, " pages ", s.pages, " graphs ", s.graphs);
        CHECK(same(run(model, requests, s, &preemptions), want));
        total += preemptions;
      }
      CHECK(total > 0);
    }
  }
}

TEST_CASE("the learner uses the rollout's memory in between: the engine computes its cached prompts again") {
  R1_NEEDS_GPU();
  GpuTransformer model(config_of("qwen2"));
  model.weights().init_random(3, 0.15f);
  const auto requests = make_requests(40, 40);
  const gpu::DeviceMemory memory(std::size_t{512} << 20);
  GpuRegion region(memory);
  GpuStepDevice device(model, region, {64, 512});
  LocalEngineOptions options;
  options.max_rows = 64, options.prefill_tokens_per_step = 512;
  PipelinedEngine engine(device, nullptr, options);
  GpuTraining training(model, region);
  const Results want = generate(engine, requests);
  PackedBatch batch;
  for (std::int32_t i = 0; i < 32; ++i) batch.tokens.push_back(i), batch.positions.push_back(i);
  batch.sequences.push_back({});
  batch.sequences.back().begin = 0, batch.sequences.back().end = 32;
  batch.predictors = {30}, batch.targets = {5};
  const std::uint64_t before = device.memory_epoch();
  training.evaluate(batch, 1.f, false);
  CHECK(device.memory_epoch() != before);
  gpu::fill_bytes(model.stream(), memory.data(), 0xff, memory.bytes());  // nothing of the rollout's is left
  CHECK(same(generate(engine, requests), want));
}

TEST_CASE("log-probabilities and entropies have the bits of the learner's pass") {
  R1_NEEDS_GPU();
  for (const char* type : {"llama", "qwen2", "qwen3"}) {
    GpuTransformer model(config_of(type));
    model.weights().init_random(4, 0.15f);
    const auto requests = make_requests(9, 300);
    const Results groups = run(model, requests, {64, 100, 4000, true, true, true});
    const gpu::DeviceMemory memory(std::size_t{512} << 20);
    gpu::fill_bytes(model.stream(), memory.data(), 0xff, memory.bytes());
    GpuRegion region(memory);
    GpuTraining training(model, region);
    PackedBatch batch;
    std::vector<float> logprobs, entropies;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const SamplingOptions& o = requests[g].sampling;
      if (o.top_k > 0 || o.temperature == 0.f) continue;  // other distributions
      const auto begin = static_cast<std::int32_t>(batch.tokens.size());
      const auto& prompt = groups[g].prompt.tokens;
      const auto length = static_cast<std::int32_t>(prompt.size());
      for (std::int32_t i = 0; i < length; ++i) batch.tokens.push_back(prompt[static_cast<std::size_t>(i)]), batch.positions.push_back(i);
      batch.sequences.push_back({begin, begin + length, -1, -1});
      for (const Completion& c : groups[g].completions) {
        const auto first = static_cast<std::int32_t>(batch.tokens.size());
        const auto n = static_cast<std::int32_t>(c.tokens.size());
        for (std::int32_t i = 0; i < n; ++i) {
          batch.predictors.push_back(i == 0 ? begin + length - 1 : first + i - 1);
          batch.targets.push_back(c.tokens[static_cast<std::size_t>(i)]);
          if (i + 1 < n) batch.tokens.push_back(c.tokens[static_cast<std::size_t>(i)]), batch.positions.push_back(length + i);
        }
        if (n > 1) batch.sequences.push_back({first, first + n - 1, begin, begin + length});
        logprobs.insert(logprobs.end(), c.logprobs.begin(), c.logprobs.end());
        entropies.insert(entropies.end(), c.entropies.begin(), c.entropies.end());
      }
    }
    const LogprobRows rows = training.forward(batch, 1.f, true, false);
    REQUIRE(rows.logprobs.size() == logprobs.size());
    int differing = 0;
    for (std::size_t i = 0; i < logprobs.size(); ++i) differing += std::memcmp(&rows.logprobs[i], &logprobs[i], 4) != 0 || std::memcmp(&rows.entropies[i], &entropies[i], 4) != 0;
    INFO(type, ": ", differing, " of ", logprobs.size(), " differ");
    CHECK(differing == 0);
    CHECK(logprobs.size() > 500);
  }
}

}  // namespace r1
