// `r1 bench` of the GPU by itself, on random weights: small enough to be carried to a machine that has nothing but a GPU and LibTorch.
// gpu_bench MODEL rollout|train|grpo SEQUENCES PROMPT NEW SAMPLES [tokens_per_micro_batch] [repeats]
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "apps/gpu_bench_cases.h"
#include "model/model_shapes.h"

int main(int argc, char** argv) {
  try {
    if (argc < 7) {
      std::fprintf(stderr, "usage: gpu_bench MODEL rollout|train|grpo SEQUENCES PROMPT NEW SAMPLES [tokens_per_micro_batch] [repeats]\n");
      return 2;
    }
    r1::GpuBenchCase c;
    c.model = argv[1], c.what = argv[2];
    c.sequences = std::atoi(argv[3]), c.prompt = std::atoi(argv[4]), c.new_tokens = std::atoi(argv[5]), c.samples = std::atoi(argv[6]);
    if (argc > 7) c.micro_batch = std::atoll(argv[7]);
    if (argc > 8) c.repeats = std::atoi(argv[8]);
    r1::GpuTransformer model(r1::model_shape(c.model));
    model.weights().init_random(1, 0.02f);
    r1::run_gpu_bench(model, c, std::cout);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
}
