// Tiny students and teachers for tests of distillation.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/rng.h"
#include "kd/distill_objective.h"
#include "rl/host_lora.h"
#include "rollout/local_engine.h"

namespace r1::test {

// A model of random weights of the tiny Llama's shape, with the parts that train and sample it.
struct World {
  explicit World(std::uint64_t seed, DType dtype = DType::kBF16, int threads = 1, bool lora = false) : pool(threads) {
    const ModelConfig config = ModelConfig::from_json(read_file(R1_SOURCE_DIR "/tests/golden/trl_tiny/config.json"), "config.json");
    model = std::make_unique<Transformer>(config, dtype, pool);
    init_random(model->weights(), seed, 0.14f);
    model->weights_changed();
    if (lora) policy = with_lora(*model, TransformerPolicy::Options{}, LoraAdapter(config, {.rank = 8, .alpha = 16}));
    else policy = std::make_unique<TransformerPolicy>(*model);
    LocalEngineOptions options;
    options.kv_cache_bytes = 1 << 20;
    options.max_rows = 16;
    engine = std::make_unique<LocalEngine>(*model, nullptr, options);
  }
  ComputePool pool;
  std::unique_ptr<Transformer> model;
  std::unique_ptr<PolicyModel> policy;
  std::unique_ptr<LocalEngine> engine;
  std::vector<std::unique_ptr<KdPass>> passes;
};

inline SamplingOptions sampling(float temperature = 1.f) {
  SamplingOptions s;
  s.max_new_tokens = 12;
  s.temperature = temperature;
  return s;
}

// Prompts with answers of the world's own, all answer tokens trained.
inline std::vector<TrainSample> texts_of(World& world, int n, std::uint64_t seed) {
  StreamRng rng(seed, 2);
  std::vector<TrainSample> prompts;
  for (int i = 0; i < n; ++i) {
    TrainSample s;
    s.name = "text " + std::to_string(i);
    for (std::uint64_t k = 0, size = 2 + rng.below(5); k < size; ++k) s.tokens.push_back(static_cast<TokenId>(2 + rng.below(46)));
    s.prompt_length = static_cast<std::int32_t>(s.tokens.size());
    prompts.push_back(std::move(s));
  }
  return make_student_sampler(*world.engine, *world.policy, sampling(), seed)(0, prompts);
}

// The passes live as long as the student.
inline KdPass* pass_of(World& student, TeacherRows& teacher) {
  student.passes.push_back(std::make_unique<HostKdPass>(*student.policy, teacher, student.pool));
  return student.passes.back().get();
}

inline DistillObjective::Parts parts_of(World& student, const std::vector<TrainSample>& train, const std::vector<TrainSample>& held_out,
                                        TeacherRows* teacher) {
  DistillObjective::Parts p;
  p.student = student.policy.get();
  p.train = train, p.held_out = held_out;
  p.pass = p.held_out_pass = p.live = pass_of(student, *teacher);
  p.sampler = make_student_sampler(*student.engine, *student.policy, sampling(0.9f), 9);
  return p;
}

}  // namespace r1::test
