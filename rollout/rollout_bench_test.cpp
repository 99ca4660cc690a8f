#include "rollout/rollout_bench.h"

#include <doctest/doctest.h>

#include <sstream>
#include <string>

#include <nlohmann/json.hpp>

#include "model/model_shapes.h"
#include "rollout/engine_test_support.h"

namespace r1 {
namespace {

TEST_CASE("one JSON line a case, whose numbers agree with each other") {
  test::TinyModel m(DType::kBF16);
  RolloutBenchOptions options;
  options.engine = test::small_engine(m.transformer, 200);
  options.repeats = 2;
  options.commit = "abc";
  std::stringstream out;
  run_rollout_bench(m.transformer, test::tiny_tokenizer(), {{1, 16, 8}, {6, 20, 13}, {6, 20, 13, 3}}, options, out);
  std::string line;
  int lines = 0;
  while (std::getline(out, line)) {
    const auto j = nlohmann::json::parse(line);
    const int batch = lines == 0 ? 1 : 6, tokens = lines == 0 ? 8 : 13;
    CHECK(j["batch"] == batch);
    CHECK(j["new_tokens"] == tokens);
    CHECK(j["runs_s"].size() == 2);
    CHECK(j["tok_s"].get<double>() * j["seconds"].get<double>() == doctest::Approx(batch * tokens));
    CHECK(j["roofline_pct"].get<double>() == doctest::Approx(100 * j["floor_s"].get<double>() / j["seconds"].get<double>()));
    CHECK(j["floor_s"].get<double>() > 0);
    CHECK(j["gflops"].get<double>() > 1);
    CHECK(j["bandwidth_gb_s"].get<double>() > 0.5);
    CHECK(j["kv_bytes"] == static_cast<std::int64_t>(m.transformer.kv_block_bytes()) * (lines == 0 ? 2 : lines == 1 ? 12 : 6 + 2));  // sharers hold the one whole block of their prompt once
    CHECK(j["samples_per_prompt"] == (lines == 2 ? 3 : 1));
    CHECK(j["first_token_s"].get<double>() > 0);
    CHECK(j["decode_tok_s"].get<double>() >= 0);
    CHECK(j["peak_memory_bytes"].get<std::int64_t>() > 1 << 20);
    CHECK(j["threads"] == 2);
    CHECK(j["commit"] == "abc");
    ++lines;
  }
  CHECK(lines == 3);
}

TEST_CASE("the floor of a mixture of experts: those that a step's tokens meet are read, a token's own are multiplied; latents are the cache") {
  const ModelConfig c = model_shape("deepseek-v2-lite");
  CHECK(c.num_parameters() == 15'706'484'224);
  const double expert = 3.0 * 2048 * 1408, head = 2048.0 * 102400, shared = static_cast<double>(c.num_parameters()) - head - 26 * 64 * expert;
  CHECK(distinct_experts(*c.moe, 1) == doctest::Approx(6));
  CHECK(distinct_experts(*c.moe, 64) == doctest::Approx(63.883).epsilon(1e-4));
  // Bandwidth binds: one sequence with a prompt of one token, two steps that read one token's experts; one and two latents.
  CHECK(rollout_floor_seconds(c, 2, {1, 1, 2}, 1.0, 1e30) == doctest::Approx(2 * 2 * (shared + 26 * 6 * expert) + 2 * 27 * 576 * 2));
  // Arithmetic binds: absorbed scores over 576 numbers, values over 512.
  const double used = shared + 26 * 6 * expert;
  CHECK(rollout_floor_seconds(c, 2, {3, 1, 2}, 1e30, 1.0) ==
        doctest::Approx(3 * (2 * (used - head) + 27 * 16 * 1088 + 2 * head) + 3 * (2 * used + 2 * 27 * 16 * 2 * 1088)));
}

TEST_CASE("the floor follows the formula") {
  ModelConfig c = test::tiny_config();  // 2 layers, width 64, 4 heads and 2 kv heads of 16, tied
  const double n = static_cast<double>(c.num_parameters()), head = 512 * 64;
  // Bandwidth binds: prefill and two steps read the weights, the steps read 11 and 12 tokens of 2 * 2 * 2 * 16 * 2 bytes each.
  CHECK(rollout_floor_seconds(c, 2, {1, 10, 3}, 1.0, 1e30) == doctest::Approx(3 * 2 * n + (11 + 12) * 256));
  CHECK(rollout_floor_seconds(c, 2, {4, 10, 1, 4}, 1e30, 1.0) == doctest::Approx(2 * (n - head) * 10 + 2 * 128 * 10 * 10 + 2 * head));
  // Arithmetic binds.
  CHECK(rollout_floor_seconds(c, 2, {5, 10, 2}, 1e30, 1.0) ==
        doctest::Approx(2 * (n - head) * 50 + 2 * 128 * 10 * 50 + 2 * head * 5 + 2 * n * 5 + 4 * 5 * 11 * 128));
}

}  // namespace
}  // namespace r1
