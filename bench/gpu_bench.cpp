// `r1 bench` of the GPU by itself, on random weights: small enough to be carried to a machine that has nothing but a GPU and LibTorch.
// gpu_bench MODEL rollout|train|grpo SEQUENCES PROMPT NEW SAMPLES [tokens_per_micro_batch] [repeats]
//           [--memory-gb N] [--master split] [--moments 8bit] [--gradients bfloat16] [--recompute true|false]
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "apps/gpu_bench_cases.h"
#include "core/error.h"
#include "kernels/gpu/device.h"
#include "model/model_shapes.h"

namespace {

// Takes "--name value" out of `words`.
std::string take_option(std::vector<std::string>& words, const std::string& name) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] != "--" + name) continue;
    if (i + 1 == words.size()) throw r1::ConfigError(words[i] + " needs a value");
    std::string value = words[i + 1];
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(i), words.begin() + static_cast<std::ptrdiff_t>(i) + 2);
    return value;
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::vector<std::string> words(argv + 1, argv + argc);
    r1::GpuBenchCase c;
    const std::string memory = take_option(words, "memory-gb"), recompute = take_option(words, "recompute");
    const auto format = [&](const char* name) {
      const std::string value = take_option(words, name);
      return value.empty() ? "auto" : value;
    };
    c.optimizer = {r1::parse_master_format(format("master")), r1::parse_moment_format(format("moments")), r1::parse_gradient_format(format("gradients"))};
    if (!recompute.empty()) c.recompute = recompute == "true";
    if (words.size() < 6 || words.size() > 8) {
      std::fprintf(stderr, "usage: gpu_bench MODEL rollout|train|grpo SEQUENCES PROMPT NEW SAMPLES [tokens_per_micro_batch] [repeats]\n"
                           "       [--memory-gb N] [--master split] [--moments 8bit] [--gradients bfloat16] [--recompute true|false]\n");
      return 2;
    }
    c.model = words[0], c.what = words[1];
    c.sequences = std::stoi(words[2]), c.prompt = std::stoi(words[3]), c.new_tokens = std::stoi(words[4]), c.samples = std::stoi(words[5]);
    if (words.size() > 6) c.micro_batch = std::stoll(words[6]);
    if (words.size() > 7) c.repeats = std::stoi(words[7]);
    if (!memory.empty()) r1::gpu::limit_memory(static_cast<std::size_t>(std::stod(memory) * 1073741824.0));
    r1::GpuTransformer model(r1::model_shape(c.model));
    model.weights().init_random(1, 0.02f);
    r1::run_gpu_bench(model, c, std::cout);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
}
