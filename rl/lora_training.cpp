#include "rl/lora_training.h"

#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

constexpr const char* kUpdates = "lora.updates";

}  // namespace

LoraTraining::LoraTraining(TrainedModel& model, std::unique_ptr<LoraState> state) : model_(model), state_(std::move(state)) { state_->merge({}); }

void LoraTraining::draw() {
  constexpr std::uint64_t kStream = 0x64726f70ull;  // "drop": apart from every other use of the seed
  const LoraOptions& o = state_->adapter().options();
  const std::uint64_t pass = mix64(static_cast<std::uint64_t>(updates_) + (passes_ << 40));
  StreamRng rng(o.seed, mix64(kStream ^ pass ^ (lane_ == 0 ? 0 : mix64(~lane_))));
  const auto kept = static_cast<float>(1 / (1 - o.dropout));
  mask_.resize(static_cast<std::size_t>(state_->adapter().columns()));
  for (float& m : mask_) m = rng.uniform() < o.dropout ? 0.f : kept;
}

void LoraTraining::begin_pass() {
  if (state_->adapter().options().dropout == 0) return;
  draw();
  ++passes_;
  state_->merge(mask_);
  masked_ = true;
}

void LoraTraining::end_pass() {
  projected_ = false;
  if (!masked_) return;
  // The next micro-batch has another mask.
  state_->project(mask_);
  state_->zero_model_gradient();
  projected_ = true;
}

void LoraTraining::settle() const {
  if (!masked_) return;
  state_->merge({});
  masked_ = false;
}

void LoraTraining::rebase() {
  masked_ = false;
  state_->take_base(true);
}

void LoraTraining::zero_gradient() {
  lane_ = passes_ = 0;
  projected_ = false;
  model_.zero_gradient();
  state_->zero_gradient();
}

void LoraTraining::project() const {
  if (projected_) return;
  state_->project({});
  projected_ = true;
}

void LoraTraining::join(Session& session, int zero) {
  if (zero > 2) throw ConfigError(message("train.zero is ", zero, ": lora merges its pairs into weights that every rank has whole; use 1"));
  state_->join(session, zero);
}

void LoraTraining::open_lane(int lane) {
  lane_ = static_cast<std::uint64_t>(lane);
  passes_ = 0;
}

// Of the lane alone: the projection of a sum has other bits than the sum of projections.
void LoraTraining::close_lane() {
  project();
  state_->close_lane();
  state_->zero_model_gradient();
}

void LoraTraining::finish_gradient() {
  project();
  state_->finish_gradient();
}

double LoraTraining::gradient_sum_of_squares() {
  project();
  return state_->gradient_sum_of_squares();
}

std::vector<float> LoraTraining::gradient() const {
  project();
  return state_->gradient();
}

void LoraTraining::adamw(const AdamWStep& step) {
  project();
  state_->adamw(step);
  updates_ = static_cast<double>(step.update);
  state_->merge({});
  masked_ = false;
}

std::optional<NonFinite> LoraTraining::find_non_finite(ParameterPart part) {
  if (part == ParameterPart::kGradient) {
    if (auto bad = model_.find_non_finite(part)) return bad;
    project();
  }
  return state_->find_non_finite(part);
}

WeightSnapshot LoraTraining::optimizer_state() const {
  WeightSnapshot out = state_->optimizer_state();
  if (state_->adapter().options().dropout != 0)
    out.tensors.push_back({kUpdates, DType::kF64, {1}, reinterpret_cast<const std::byte*>(&updates_), -1});
  return out;
}

void LoraTraining::restore_optimizer_state(const WeightSnapshot& state) {
  if (state_->adapter().options().dropout != 0) {
    const TensorView* found = nullptr;
    for (const TensorView& t : state.tensors)
      if (t.name == kUpdates && t.dtype == DType::kF64 && t.elements() == 1) found = &t;
    if (!found) throw CheckpointError(message("the optimizer state lacks ", kUpdates, ", which lora.dropout goes on from"));
    std::memcpy(&updates_, found->data, sizeof updates_);
  }
  state_->restore_optimizer_state(state);
  state_->merge({});
  masked_ = false;
}

}  // namespace r1
