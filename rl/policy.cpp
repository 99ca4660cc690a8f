#include "rl/policy.h"

#include "core/error.h"

namespace r1 {
namespace {

[[noreturn]] void refuse() { throw Error("this model gives no logits to the host"); }

}  // namespace

void TrainedModel::join(Session&, int) {
  throw ConfigError("this kind of model is trained in one process only; start it without several ranks");
}

void TrainedModel::join_experts(Session&) { throw ConfigError("this kind of model does not share experts out; set train.expert_parallel to 1"); }

void ScoringModel::prepare_logits(const PackedBatch&) { refuse(); }
const float* ScoringModel::logit_rows(std::int64_t, std::int64_t) { refuse(); }
std::int64_t ScoringModel::logit_stride() const { refuse(); }
std::int64_t ScoringModel::logit_ids() const { refuse(); }
void PolicyModel::train_logits(const PackedBatch&, Transformer::LogitLoss) { refuse(); }

void PolicyModel::set_balance_loss(double weight) {
  if (weight != 0) throw ConfigError("rl.router.balance_loss: this model has no experts to balance; set it to 0");
}

void PolicyModel::update_correction_biases(const ExpertLoad&, double) {
  throw ConfigError("rl.router.bias_update: this model has no correction biases that could be moved; set it to 0");
}

void PolicyModel::set_prediction_loss(double weight) {
  if (weight != 0) throw ConfigError("mtp_loss: this model has no multi-token prediction layer to train; set it to 0");
}

}  // namespace r1
