#include "rl/ranked_checkpoints.h"

#include <algorithm>
#include <cstring>

#include "core/serialize.h"

namespace r1 {

std::filesystem::path RankedCheckpoints::save(const CheckpointState& state, const WeightSnapshot& weights, const WeightSnapshot& optimizer) {
  if (ranks_.alone()) return files_.save(state, weights, optimizer);
  std::filesystem::path path;
  if (ranks_.rank() == 0) path = files_.save(state, weights, optimizer);
  ranks_.comm().barrier("the checkpoint");
  return path;
}

std::optional<SavedRun> RankedCheckpoints::newest() {
  if (ranks_.alone()) return files_.newest();
  std::optional<SavedRun> run;
  std::string head;
  if (ranks_.rank() == 0) run = files_.newest();
  if (run) {
    append_record(head, run->state.to_json());
    for (const TensorView& t : run->optimizer.tensors) {
      append_record(head, t.name);
      const auto type = static_cast<std::int64_t>(t.dtype);
      append_record(head, bytes_of(std::span<const std::int64_t>(&type, 1)) + bytes_of(std::span<const std::int64_t>(t.shape)));
    }
  }
  ranks_.broadcast(head, "the checkpoint's state");
  if (head.empty()) return std::nullopt;
  if (ranks_.rank() != 0) {
    std::string_view rest = head;
    run.emplace();
    run->state = CheckpointState::from_json(std::string(take_record(rest)), "rank 0's checkpoint");
    while (!rest.empty()) {
      TensorView t;
      t.name = take_record(rest);
      std::vector<std::int64_t> numbers = values_of<std::int64_t>(take_record(rest));
      t.dtype = static_cast<DType>(numbers.at(0));
      t.shape.assign(numbers.begin() + 1, numbers.end());
      t.device = -1;
      run->optimizer.tensors.push_back(std::move(t));
    }
    run->optimizer.version = run->state.version;
  }
  // One tensor after another, each in memory of its own that lives as long as the snapshot.
  auto owned = std::make_shared<std::vector<std::vector<std::byte>>>();
  for (TensorView& t : run->optimizer.tensors) {
    std::vector<std::byte>& bytes = owned->emplace_back(t.bytes());
    if (ranks_.rank() == 0) std::memcpy(bytes.data(), t.data, bytes.size());
    ranks_.comm().broadcast(bytes.data(), bytes.size(), 0, "the checkpoint's tensors");
    if (ranks_.rank() == 0) bytes = {};
    else t.data = bytes.data();
  }
  if (ranks_.rank() != 0) run->optimizer.owner = owned;
  return run;
}

}  // namespace r1
