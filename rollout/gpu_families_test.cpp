// Families beyond Llama's block in the engine on the GPU: the same bits for any batch, those of the learner's pass; the experts that it
// reports are those that were met.
#include "model/gpu/gpu_family_configs.h"
#include "model/transformer.h"
#include "rollout/gpu_engine_test_support.h"

namespace r1 {

using namespace gpu_engine_test;

namespace {

// Weights on both devices: random, the correction bias too.
void give_weights(Transformer& cpu, GpuTransformer& gpu) {
  init_random(cpu.weights(), 3, 0.15f);
  for (const Parameter& p : cpu.weights().buffers()) {
    const std::vector<float> values = gpu::test::floats(p.elements, 12, 0.1f);
    std::copy(values.begin(), values.end(), cpu.weights().buffer(p));
  }
  cpu.weights_changed();
  gpu.weights().load(cpu.weights().snapshot(0));
}

std::vector<RolloutRequest> requests_for(const GpuTransformer& model, std::uint64_t seed, int longest) {
  auto requests = make_requests(seed, longest);
  for (RolloutRequest& r : requests)
    for (TokenId& t : r.prompt.tokens) t = static_cast<TokenId>(t % model.config().vocab_size);
  return requests;
}

}  // namespace

TEST_CASE("families: the same bits and experts for any rows, chunks, pool, with and without graphs, cache and sharing") {
  R1_NEEDS_GPU();
  for (const std::string& family : gpu_test_families()) {
    ComputePool pool(2);
    Transformer cpu(gpu_family_config(family), DType::kBF16, pool);
    GpuTransformer model(cpu.config());
    give_weights(cpu, model);
    for (const int longest : {40, 400}) {
      const auto requests = requests_for(model, static_cast<std::uint64_t>(longest), longest);
      const Results want = run(model, requests, {64, 512, 4000, true, true, true});
      std::int64_t preemptions = 0, total = 0;
      for (const Setup& s : {Setup{64, 512, 4000, false, true, true}, Setup{3, 50, 4000, true, true, true}, Setup{40, 512, 4000, true, false, false},
                             Setup{64, 200, 12, true, true, true}}) {
        INFO(family, " ", longest, ": rows ", s.rows, " prefill ", s.prefill, " pages ", s.pages, " graphs ", s.graphs);
        CHECK(same(run(model, requests, s, &preemptions), want));
        total += preemptions;
      }
      CHECK(total > 0);
    }
  }
}

TEST_CASE("families: log-probabilities have the bits of the learner's pass; replaying the reported experts changes none, on the CPU little") {
  R1_NEEDS_GPU();
  for (const std::string& family : gpu_test_families()) {
    ComputePool pool(2);
    Transformer cpu(gpu_family_config(family), DType::kBF16, pool), exact(gpu_family_config(family), DType::kF32, pool);
    GpuTransformer model(cpu.config());
    give_weights(cpu, model);
    exact.weights().load(cpu.weights().snapshot(0));
    const auto requests = requests_for(model, 9, 300);
    const Results groups = run(model, requests, {64, 100, 4000, true, true, true});
    const gpu::DeviceMemory memory(std::size_t{512} << 20);
    gpu::fill_bytes(model.stream(), memory.data(), 0xff, memory.bytes());
    GpuRegion region(memory);
    GpuTraining training(model, region);
    const std::int64_t choices = model.shape().choices;
    auto [batch, logprobs, entropies] = pack_sampled(requests, groups, choices);
    for (const bool replay : {true, false}) {
      if (!replay) batch.experts.clear();
      const LogprobRows rows = training.evaluate(batch, 1.f, true);
      REQUIRE(rows.logprobs.size() == logprobs.size());
      int differing = 0;
      for (std::size_t i = 0; i < logprobs.size(); ++i)
        differing += std::memcmp(&rows.logprobs[i], &logprobs[i], 4) != 0 || std::memcmp(&rows.entropies[i], &entropies[i], 4) != 0;
      INFO(family, replay ? ", replayed: " : ": ", differing, " of ", logprobs.size(), " differ");
      CHECK(differing == 0);
      CHECK(logprobs.size() > 500);
      if (!replay) continue;
      const LogprobRows want = exact.evaluate(batch, 1.f, false), host = cpu.evaluate(batch, 1.f, false);
      double mean = 0, mean_cpu = 0;
      for (std::size_t i = 0; i < logprobs.size(); ++i) {
        mean += std::abs(double{logprobs[i]} - want.logprobs[i]) / static_cast<double>(logprobs.size());
        mean_cpu += std::abs(double{host.logprobs[i]} - want.logprobs[i]) / static_cast<double>(logprobs.size());
      }
      MESSAGE(family, ": ", logprobs.size(), " sampled tokens, with their experts ", mean, " from float32 on the mean (CPU bfloat16: ", mean_cpu, ")");
      CHECK(mean < 2 * mean_cpu + 1e-3);
    }
  }
}

}  // namespace r1
