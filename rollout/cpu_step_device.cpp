#include "rollout/cpu_step_device.h"

#include <algorithm>

#include "core/error.h"

namespace r1::test {

void CpuStepDevice::launch(const DeviceStep& step) {
  R1_CHECK(in_flight_.size() < 2, "three steps in flight");
  for (std::size_t i = 0; i < step.copy_from.size(); ++i) arena_.copy(step.copy_from[i], step.copy_to[i]);
  std::vector<std::byte*> pointers;
  for (const std::int32_t b : step.tables) pointers.push_back(arena_.block(b));
  std::vector<Transformer::Row> rows(step.tokens.size());
  const auto set = [&](std::size_t row, std::int32_t table) {
    const TokenId t = step.tokens[row];
    rows[row] = {t < 0 ? last_.at(static_cast<std::size_t>(-1 - t)) : t,
                 {pointers.data() + step.table_begin.at(static_cast<std::size_t>(table)), step.positions[row]},
                 false};
    R1_CHECK(step.table_begin.at(static_cast<std::size_t>(table)) + step.positions[row] / cpu::kKvBlock < step.table_begin.at(static_cast<std::size_t>(table) + 1),
             "row ", row, " at position ", step.positions[row], " has no block");
  };
  for (std::int32_t i = 0; i < step.decode_rows; ++i) set(static_cast<std::size_t>(i), i);
  std::int32_t next = step.decode_rows;
  for (const DeviceStep::Run& run : step.runs) {
    R1_CHECK(run.row == next, "a run at row ", run.row, ", expected ", next);
    for (std::int32_t i = 0; i < run.count; ++i, ++next) {
      set(static_cast<std::size_t>(next), run.table);
      R1_CHECK(step.positions[static_cast<std::size_t>(next)] == run.position + i, "a run's positions are not consecutive");
    }
  }
  R1_CHECK(next == static_cast<std::int32_t>(rows.size()), next, " rows described of ", rows.size());
  for (const DeviceStep::Draw& d : step.draws) rows[static_cast<std::size_t>(d.row)].wants_logits = true;
  std::vector<DeviceDraw> out(step.draws.size());
  model_.step(rows, [&](std::size_t row, const float* logits) {
    for (std::size_t i = 0; i < step.draws.size(); ++i) {
      const DeviceStep::Draw& d = step.draws[i];
      if (static_cast<std::size_t>(d.row) != row) continue;
      try {
        const cpu::Sampled s = cpu::sample_row(logits, model_.vocab_limit(), {d.temperature, d.top_k, d.top_p, d.min_p, d.uniform});
        out[i] = {s.token, s.logprob, s.entropy};
      } catch (const NumericError&) {
        out[i] = {-1, 0.f, 0.f};
      }
    }
  });
  for (std::size_t i = 0; i < out.size(); ++i)
    if (step.draws[i].slot >= 0) last_.at(static_cast<std::size_t>(step.draws[i].slot)) = std::max<TokenId>(out[i].token, 0);
  Launched launched{std::move(out), step.copy_from, step.copy_to, {}, {}};
  if (const std::int64_t choices = model_.expert_choices(); choices > 0) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const cpu::KvRow& kv = rows[i].kv;
      const auto at = static_cast<std::size_t>(kv.blocks - pointers.data() + kv.position / cpu::kKvBlock);
      launched.places.push_back(std::int64_t{step.tables[at]} * cpu::kKvBlock + kv.position % cpu::kKvBlock);
      launched.experts.resize(launched.experts.size() + static_cast<std::size_t>(choices));
      model_.read_experts(pointers[at], kv.position, launched.experts.data() + static_cast<std::int64_t>(i) * choices);
    }
  }
  in_flight_.push_back(std::move(launched));
}

std::span<const DeviceDraw> CpuStepDevice::collect() {
  R1_CHECK(!in_flight_.empty(), "nothing in flight");
  const Launched step = std::move(in_flight_.front());
  in_flight_.pop_front();
  collected_ = step.draws;
  const auto choices = static_cast<std::size_t>(model_.expert_choices()), block = choices * cpu::kKvBlock;
  experts_.resize(static_cast<std::size_t>(blocks_) * block);
  for (std::size_t i = 0; i < step.copy_from.size(); ++i)
    std::copy_n(experts_.data() + static_cast<std::size_t>(step.copy_from[i]) * block, block, experts_.data() + static_cast<std::size_t>(step.copy_to[i]) * block);
  for (std::size_t i = 0; i < step.places.size(); ++i)
    std::copy_n(step.experts.data() + i * choices, choices, experts_.data() + static_cast<std::size_t>(step.places[i]) * choices);
  return collected_;
}

void CpuStepDevice::read_experts(std::int32_t block, std::int32_t position, std::uint16_t* out) const {
  const std::int64_t choices = model_.expert_choices();
  std::copy_n(experts_.data() + (std::int64_t{block} * cpu::kKvBlock + position % cpu::kKvBlock) * choices, choices, out);
}

void CpuStepDevice::load_weights(const WeightSnapshot& snapshot) {
  R1_CHECK(in_flight_.empty(), "weights changed while steps are in flight");
  model_.weights_changed();
  model_.weights().load(snapshot);
}

}  // namespace r1::test
