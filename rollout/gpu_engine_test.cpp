// The engine on the GPU: completions do not depend on batching, chunks, preemption or graphs, and their log-probabilities have the bits
// of the learner's pass.
#include "rollout/gpu_engine_test_support.h"

namespace r1 {

using namespace gpu_engine_test;

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
    const auto [batch, logprobs, entropies] = pack_sampled(requests, groups);
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
