// What the pipelined engine costs the host: a device that draws at once, so that every microsecond is planning, rows and completions.
//   engine_host_bench [--tokenizer TOKENIZER.json] [--rounds N]
// One JSON line a case: this thread's CPU time a step (the device's own left out), so that other programs do not enter. A step must cost
// well below what a GPU needs for it (about 1 ms at 256 sequences of a 0.5B model): the two overlap.
#include <ctime>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "rollout/instant_step_device.h"
#include "rollout/pipelined_engine.h"
#include "text/tokenizer.h"

namespace {

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct TimedDevice : r1::test::InstantStepDevice {
  using InstantStepDevice::InstantStepDevice;
  double seconds = 0;
  void launch(const r1::DeviceStep& step) override {
    const double start = cpu_seconds();
    InstantStepDevice::launch(step);
    seconds += cpu_seconds() - start;
  }
};

struct Case {
  int rows = 1;
  bool tokenizer = false, stop_string = false, stream = false;
  int waiting = 0;  // samples, in groups of 8, behind those that decode
};

void run(const Case& c, const std::shared_ptr<const r1::Tokenizer>& tokenizer, int rounds) {
  constexpr int kPrompt = 128, kTokens = 512;
  std::vector<double> micros;
  long long steps = 0, tokens = 0;
  double device_us = 0;
  for (int round = 0; round < rounds; ++round) {
    const std::int64_t vocab = tokenizer ? tokenizer->vocab_size() : 151936;
    TimedDevice device({.blocks = 16384, .rows = c.rows, .slots = c.rows, .vocab = vocab});
    r1::PipelinedEngine engine(device, c.tokenizer ? tokenizer : nullptr, {.max_rows = c.rows, .prefill_tokens_per_step = 8192});
    const int samples = std::min(8, c.rows);
    for (int i = 0; i < (c.rows + c.waiting) / samples; ++i) {
      r1::RolloutRequest r;
      for (int t = 0; t < kPrompt; ++t) r.prompt.tokens.push_back(static_cast<r1::TokenId>((i * 7919 + t * 31) % (vocab - 2)));
      r.samples = samples;
      r.sampling.ignore_eos = true;
      r.sampling.max_new_tokens = c.waiting > 0 ? kTokens / 2 + i * 37 % (kTokens / 2) : kTokens;
      if (c.stop_string) r.sampling.stop_strings = {"</answer> never drawn"};
      r.key = {1, static_cast<std::uint64_t>(round), static_cast<std::uint64_t>(i), 0};
      engine.submit(std::move(r));
    }
    const double start = cpu_seconds();
    engine.wait([](r1::RolloutEvent&&) {}, c.stream);
    const double whole = cpu_seconds() - start;
    const r1::EngineStats s = engine.stats();
    steps += s.decode_steps;
    tokens += s.generated_tokens;
    micros.push_back(1e6 * (whole - device.seconds) / static_cast<double>(s.decode_steps));
    device_us += 1e6 * device.seconds / static_cast<double>(s.decode_steps) / rounds;
  }
  std::sort(micros.begin(), micros.end());
  const double median = micros[micros.size() / 2];
  std::printf("{\"case\":\"engine_host\",\"rows\":%d,\"tokenizer\":%s,\"stop_string\":%s,\"stream\":%s,\"waiting\":%d,\"steps\":%lld,\"tokens\":%lld,"
              "\"host_us_per_step\":%.1f,\"least\":%.1f,\"host_ns_per_row\":%.0f,\"device_us_per_step\":%.1f}\n",
              c.rows, c.tokenizer ? "true" : "false", c.stop_string ? "true" : "false", c.stream ? "true" : "false", c.waiting, steps, tokens, median,
              micros.front(), 1e3 * median / c.rows, device_us);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::shared_ptr<const r1::Tokenizer> tokenizer;
    int rounds = 3;
    for (int i = 1; i < argc; ++i) {
      const std::string arg = argv[i];
      if (arg == "--tokenizer" && i + 1 < argc) {
        tokenizer = r1::Tokenizer::load(argv[++i]);
      } else if (arg == "--rounds" && i + 1 < argc && (rounds = std::atoi(argv[++i])) > 0) {
      } else {
        std::fprintf(stderr, "usage: engine_host_bench [--tokenizer TOKENIZER.json] [--rounds N]\n");
        return 2;
      }
    }
    for (const int rows : {1, 64, 256, 512}) {
      run({.rows = rows}, tokenizer, rounds);
      run({.rows = rows, .waiting = 4 * rows}, tokenizer, rounds);
      if (!tokenizer) continue;
      run({.rows = rows, .tokenizer = true}, tokenizer, rounds);
      run({.rows = rows, .tokenizer = true, .waiting = 4 * rows}, tokenizer, rounds);
      run({.rows = rows, .tokenizer = true, .stop_string = true}, tokenizer, rounds);
      run({.rows = rows, .tokenizer = true, .stream = true}, tokenizer, rounds);
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "engine_host_bench: %s\n", e.what());
    return 1;
  }
  return 0;
}
