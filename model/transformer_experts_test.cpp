// Experts shared out over ranks, which are threads here: log-probabilities, choices and the experts' gradients have the bits of one rank.
// Over processes: rl/model_ranks_test.cpp.
#include <doctest/doctest.h>

#include <barrier>
#include <cstring>
#include <map>
#include <string>
#include <thread>

#include "core/error.h"
#include "model/golden_model.h"
#include "model/transformer.h"

using namespace r1;
using test::GoldenModel;

namespace {

class ThreadGroup final : public ModelGroup {
 public:
  struct Shared {
    explicit Shared(int size) : barrier(size), sends(static_cast<std::size_t>(size)) {}
    std::barrier<> barrier;
    std::vector<std::vector<std::span<const std::byte>>> sends;
  };
  ThreadGroup(Shared& shared, int rank) : shared_(shared), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(shared_.sends.size()); }
  void sum(float*, std::int64_t, const char*) override { throw Error("no sums of experts"); }
  void exchange(std::span<const std::span<const std::byte>> sends, std::span<const std::span<std::byte>> receives, const char* what) override {
    const auto own = static_cast<std::size_t>(rank_);
    shared_.sends[own].assign(sends.begin(), sends.end());
    shared_.barrier.arrive_and_wait();
    for (std::size_t r = 0; r < receives.size(); ++r) {
      const std::span<const std::byte> from = shared_.sends[r][own];
      R1_CHECK(from.size() == receives[r].size(), what, ": ", from.size(), " bytes for ", receives[r].size());
      if (!from.empty()) std::memcpy(receives[r].data(), from.data(), from.size());
    }
    shared_.barrier.arrive_and_wait();
  }

 private:
  Shared& shared_;
  int rank_;
};

// Two prompts, the first continued by two samples.
PackedBatch batch() {
  PackedBatch b;
  const auto add = [&](std::int32_t prefix_end, int n, int seed, int from) {
    const auto begin = static_cast<std::int32_t>(b.tokens.size());
    for (int i = 0; i < n; ++i) b.tokens.push_back((seed * 7 + i * 11) % 90), b.positions.push_back(prefix_end + i);
    b.sequences.push_back({begin, static_cast<std::int32_t>(b.tokens.size()), prefix_end > 0 ? 0 : -1, prefix_end > 0 ? prefix_end : -1});
    for (auto i = begin + from; i + 1 < begin + n; ++i) b.predictors.push_back(i), b.targets.push_back(b.tokens[static_cast<std::size_t>(i + 1)]);
  };
  add(0, 19, 1, 19), add(19, 9, 2, 0), add(19, 5, 3, 0), add(0, 17, 4, 5);
  return b;
}

struct Result {
  LogprobRows rows;
  std::vector<float> stepped;  // logits of a rollout's step
  std::map<std::string, std::vector<float>> gradient;
  ExpertLoad load;
};

Result pass(const GoldenModel& g, DType dtype, bool recompute, ModelGroup* group) {
  ComputePool pool(1);
  ModelParallel parallel;
  parallel.experts = group;
  Transformer model(g.model.config(), dtype, pool, parallel);
  g.model.load_into(model.weights());
  model.weights_changed();
  Result out;
  const PackedBatch b = batch();
  out.rows = model.forward(b, 0.8f, true, recompute);
  std::vector<float> weights(b.predictors.size()), gradient(static_cast<std::size_t>(model.weights().elements()), 0.f);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 0.1f * static_cast<float>(static_cast<int>(i * 5 % 7) - 3);
  model.backward(weights, {}, gradient);
  for (const Parameter& p : model.weights().parameters()) out.gradient[p.name].assign(gradient.begin() + p.offset, gradient.begin() + p.offset + p.elements);
  out.load = model.take_expert_load();

  // Three sequences in one step, in blocks of their own.
  std::vector<std::vector<std::byte>> memory(3, std::vector<std::byte>(model.kv_block_bytes() + 64));
  std::vector<std::byte*> blocks;
  for (auto& m : memory) blocks.push_back(m.data() + (64 - reinterpret_cast<std::uintptr_t>(m.data()) % 64) % 64);
  std::vector<Transformer::Row> rows;
  for (int s = 0; s < 3; ++s)
    for (std::int32_t p = 0; p < 5; ++p) rows.push_back({static_cast<TokenId>((s * 5 + p * 3) % 90), {&blocks[static_cast<std::size_t>(s)], p}, p == 4});
  const auto vocabulary = static_cast<std::size_t>(g.model.config().vocab_size);
  out.stepped.resize(rows.size() * vocabulary);
  model.step(rows, [&](std::size_t row, const float* z) { std::copy_n(z, vocabulary, out.stepped.begin() + static_cast<std::ptrdiff_t>(row * vocabulary)); });
  std::vector<std::uint16_t> met(static_cast<std::size_t>(model.expert_choices()));
  for (std::byte* block : blocks)
    for (std::int32_t p = 0; p < 5; ++p) {
      model.read_experts(block, p, met.data());
      out.stepped.insert(out.stepped.end(), met.begin(), met.end());
    }
  return out;
}

std::vector<Result> on_threads(int size, const GoldenModel& g, DType dtype, bool recompute) {
  ThreadGroup::Shared shared(size);
  std::vector<Result> results(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      ThreadGroup group(shared, r);
      results[static_cast<std::size_t>(r)] = pass(g, dtype, recompute, &group);
    });
  for (std::thread& t : threads) t.join();
  return results;
}

}  // namespace

TEST_CASE("experts on 2 and 4 ranks: bits of one, in training and in a step; a rank without rows serves the others") {
  for (const std::string family : {"tiny-v3", "tiny-v1", "tiny-mixtral"})
    for (const DType dtype : {DType::kF32, DType::kBF16})
      for (const bool recompute : {false, true}) {
        CAPTURE(family);
        const GoldenModel g(family);
        const Result one = pass(g, dtype, recompute, nullptr);
        for (const int size : {2, 4}) {
          CAPTURE(size);
          const std::vector<Result> many = on_threads(size, g, dtype, recompute);
          std::size_t experts = 0;
          ExpertLoad load = many[0].load;
          std::map<std::string, std::vector<double>> sums;
          for (const Result& r : many) {
            CHECK(r.rows.logprobs == one.rows.logprobs);
            CHECK(r.rows.entropies == one.rows.entropies);
            CHECK(r.stepped == one.stepped);
            for (const auto& [name, values] : r.gradient) {
              if (name.find(".experts.") != std::string::npos) {
                ++experts;
                CHECK(values == one.gradient.at(name));
              } else {
                sums[name].resize(values.size());
                for (std::size_t i = 0; i < values.size(); ++i) sums[name][i] += double{values[i]};
              }
            }
            if (&r == many.data()) continue;
            for (std::size_t i = 0; i < load.tokens.size(); ++i) load.tokens[i] += r.load.tokens[i];
            load.dropped += r.load.dropped;
          }
          CHECK(load.tokens == one.load.tokens);
          CHECK(load.dropped == 0);
          CHECK(experts + sums.size() == one.gradient.size());  // each expert on one rank
          for (const auto& [name, values] : sums) {
            const std::vector<float> added(values.begin(), values.end());
            CHECK(test::relative_error(added.data(), added.size(), one.gradient.at(name)) < (dtype == DType::kF32 ? 2e-6 : 1e-5));
          }
        }
      }
}
