// A StepDevice without a model, for tests of the host's work and for measuring it: a token is a hash of the weights' version, the
// row's token and position and the draw's number, so it does not depend on batching. It can be told to fail.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "rollout/step_device.h"

namespace r1::test {

class InstantStepDevice : public StepDevice {
 public:
  struct Options {
    std::int32_t blocks = 4096, block_size = 64, rows = 512, prefill_rows = 8192, slots = 512;
    std::int64_t vocab = 512, context = 8192;
  };
  explicit InstantStepDevice(const Options& options) : options_(options), last_(static_cast<std::size_t>(options.slots), 0) {
    config_.vocab_size = options.vocab;
    config_.max_position_embeddings = options.context;
    config_.eos_token_ids = {static_cast<TokenId>(options.vocab - 2)};
  }
  const ModelConfig& config() const override { return config_; }
  std::int32_t blocks() const override { return options_.blocks; }
  std::int32_t block_size() const override { return options_.block_size; }
  std::int32_t max_decode_rows() const override { return options_.rows; }
  std::int32_t max_prefill_rows() const override { return options_.prefill_rows; }
  std::int32_t slots() const override { return options_.slots; }
  int max_in_flight() const override { return 2; }
  std::int64_t vocab_limit() const override { return limit_ > 0 ? limit_ : options_.vocab; }
  void set_vocab_limit(std::int64_t limit) override { limit_ = limit; }

  void launch(const DeviceStep& step) override {
    R1_CHECK(in_flight_.size() < 2, "three steps in flight");
    if (--launches_until_failure == 0) throw IoError("the launch failed");
    std::vector<DeviceDraw> out;
    if (!spare_.empty()) out = std::exchange(spare_, {});
    out.clear();
    for (const DeviceStep::Draw& d : step.draws) {
      const auto row = static_cast<std::size_t>(d.row);
      const TokenId t = step.tokens[row];
      const TokenId input = t < 0 ? last_.at(static_cast<std::size_t>(-1 - t)) : t;
      const std::uint64_t h = mix64((static_cast<std::uint64_t>(step.positions[row]) << 32 ^ static_cast<std::uint32_t>(input)) + version_ * 977 +
                                    static_cast<std::uint64_t>(d.uniform * 1e15));
      out.push_back({static_cast<TokenId>(h % static_cast<std::uint64_t>(vocab_limit())), static_cast<float>(h >> 40) * -1e-6f, 1.f});
    }
    if (--launches_until_nan == 0 && !out.empty()) out[0].token = -1;
    for (std::size_t i = 0; i < out.size(); ++i)
      if (step.draws[i].slot >= 0) last_.at(static_cast<std::size_t>(step.draws[i].slot)) = std::max<TokenId>(out[i].token, 0);
    in_flight_.push_back(std::move(out));
  }
  std::span<const DeviceDraw> collect() override {
    R1_CHECK(!in_flight_.empty(), "nothing in flight");
    spare_ = std::exchange(collected_, std::move(in_flight_.front()));
    in_flight_.pop_front();
    if (--collects_until_failure == 0) throw 17;  // not even one of our errors
    return collected_;
  }
  void load_weights(const WeightSnapshot& snapshot) override {
    R1_CHECK(in_flight_.empty(), "weights changed while steps are in flight");
    version_ = snapshot.version;
  }
  WeightDigest digest() const override { return {static_cast<std::uint8_t>(version_)}; }
  std::size_t steps_in_flight() const { return in_flight_.size(); }

  int launches_until_failure = 0, collects_until_failure = 0, launches_until_nan = 0;  // 1: the next one; 0: never

 private:
  Options options_;
  ModelConfig config_;
  std::int64_t limit_ = 0;
  WeightVersion version_ = 0;
  std::vector<TokenId> last_;
  std::deque<std::vector<DeviceDraw>> in_flight_;
  std::vector<DeviceDraw> collected_, spare_;
};

}  // namespace r1::test
