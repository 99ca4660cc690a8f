// For the tests of the engine on the GPU: requests, an engine over a pool of any size, and what it sampled as a batch of the learner.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/rng.h"
#include "kernels/gpu/test_support.h"
#include "model/gpu/gpu_training.h"
#include "rollout/gpu_step_device.h"
#include "rollout/pipelined_engine.h"

namespace r1::gpu_engine_test {

inline std::vector<RolloutRequest> make_requests(std::uint64_t seed, int longest) {
  StreamRng rng(seed, 1);
  std::vector<RolloutRequest> out;
  for (std::uint64_t i = 0; i < 12; ++i) {
    RolloutRequest r;
    r.prompt.id = "p" + std::to_string(i);
    const auto n = 1 + rng.below(static_cast<std::uint64_t>(longest));
    for (std::uint64_t j = 0; j < n; ++j) r.prompt.tokens.push_back(static_cast<TokenId>(rng.below(510)));
    r.samples = 1 + static_cast<int>(rng.below(6));
    r.sampling.max_new_tokens = 1 + static_cast<int>(rng.below(90));
    r.sampling.want_entropy = r.sampling.want_experts = true;
    if (i % 5 == 4) r.sampling.temperature = 0.f;
    if (i % 5 == 3) r.sampling.top_p = 0.8f, r.sampling.top_k = 50;
    r.key = {42, 3, i, 0};
    out.push_back(std::move(r));
  }
  return out;
}

using Results = std::vector<SampleGroup>;
inline bool same(const Results& a, const Results& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t s = 0; s < a[i].completions.size(); ++s) {
      const Completion &x = a[i].completions[s], &y = b[i].completions[s];
      if (x.tokens != y.tokens || x.stop != y.stop || x.experts != y.experts || std::memcmp(x.logprobs.data(), y.logprobs.data(), x.logprobs.size() * 4) != 0 ||
          std::memcmp(x.entropies.data(), y.entropies.data(), x.entropies.size() * 4) != 0)
        return false;
    }
  return true;
}

struct Setup { int rows; int prefill; std::int64_t pages; bool graphs, cache, sharing; };

inline Results run(GpuTransformer& model, const std::vector<RolloutRequest>& requests, const Setup& setup, std::int64_t* preemptions = nullptr) {
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
    std::int64_t expert_choices() const override { return d.expert_choices(); }
    void read_experts(std::int32_t block, std::int32_t position, std::uint16_t* out) const override { d.read_experts(block, position, out); }
  } fewer(device, static_cast<std::int32_t>(setup.pages));
  LocalEngineOptions options;
  options.max_rows = setup.rows, options.prefill_tokens_per_step = setup.prefill, options.prefix_cache = setup.cache, options.prefix_sharing = setup.sharing;
  PipelinedEngine engine(fewer, nullptr, options);
  Results first = generate(engine, requests);
  CHECK(same(first, generate(engine, requests)));  // on a warm cache, by graphs that exist
  if (preemptions) *preemptions = engine.stats().preemptions;
  return first;
}

// What was sampled at temperature 1 without filters, as the learner packs it: each prompt once.
struct Sampled {
  PackedBatch batch;
  std::vector<float> logprobs, entropies;
};
inline Sampled pack_sampled(const std::vector<RolloutRequest>& requests, const Results& groups, std::int64_t choices = 0) {
  Sampled out;
  PackedBatch& batch = out.batch;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const SamplingOptions& o = requests[g].sampling;
    if (o.top_k > 0 || o.temperature == 0.f) continue;  // other distributions
    const auto begin = static_cast<std::int32_t>(batch.tokens.size());
    const auto& prompt = groups[g].prompt.tokens;
    const auto length = static_cast<std::int32_t>(prompt.size());
    for (std::int32_t i = 0; i < length; ++i) batch.tokens.push_back(prompt[static_cast<std::size_t>(i)]), batch.positions.push_back(i);
    batch.sequences.push_back({begin, begin + length, -1, -1});
    const auto add_experts = [&](const Completion& c, std::int32_t from, std::int32_t to) {
      if (choices > 0) batch.experts.insert(batch.experts.end(), c.experts.begin() + from * choices, c.experts.begin() + to * choices);
    };
    add_experts(groups[g].completions.front(), 0, length);
    for (const Completion& c : groups[g].completions) {
      const auto first = static_cast<std::int32_t>(batch.tokens.size());
      const auto n = static_cast<std::int32_t>(c.tokens.size());
      for (std::int32_t i = 0; i < n; ++i) {
        batch.predictors.push_back(i == 0 ? begin + length - 1 : first + i - 1);
        batch.targets.push_back(c.tokens[static_cast<std::size_t>(i)]);
        if (i + 1 < n) batch.tokens.push_back(c.tokens[static_cast<std::size_t>(i)]), batch.positions.push_back(length + i);
      }
      add_experts(c, length, length + n - 1);
      if (n > 1) batch.sequences.push_back({first, first + n - 1, begin, begin + length});
      out.logprobs.insert(out.logprobs.end(), c.logprobs.begin(), c.logprobs.end());
      out.entropies.insert(out.entropies.end(), c.entropies.begin(), c.entropies.end());
    }
  }
  return out;
}

}  // namespace r1::gpu_engine_test
