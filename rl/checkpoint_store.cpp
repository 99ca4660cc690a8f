#include "rl/checkpoint_store.h"

#include <utility>

#include "core/log.h"

namespace r1 {

ModelCheckpointStore::ModelCheckpointStore(std::filesystem::path root, ModelConfig config,
                                           SaveCheckpointOptions options)
    : root_(std::move(root)), config_(std::move(config)), options_(std::move(options)) {}

std::filesystem::path ModelCheckpointStore::save(const CheckpointState& state, const WeightSnapshot& weights,
                                                 const WeightSnapshot& optimizer) {
  return save_checkpoint(root_, config_, weights, optimizer.tensors, state, options_);
}

std::optional<SavedRun> ModelCheckpointStore::newest() {
  const auto found = newest_checkpoint(root_, [](const std::string& text) {
    log_warning("checkpoint.skipped", {{"text", text}});
  });
  if (!found) return std::nullopt;
  publish_checkpoint(found->path(), options_.keep);
  SavedRun run;
  run.state = found->state();
  run.weights = found->model().snapshot();
  const SafetensorsFile optimizer = found->optimizer();
  run.optimizer = {run.state.version, optimizer.tensors(), optimizer.owner()};
  return run;
}

}  // namespace r1
