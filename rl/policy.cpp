#include "rl/policy.h"

#include "core/error.h"

namespace r1 {
namespace {

[[noreturn]] void refuse() { throw Error("this model gives no logits to the host"); }

}  // namespace

void TrainedModel::join(Session&, int) {
  throw ConfigError("this kind of model is trained in one process only; start it without several ranks");
}

void ScoringModel::prepare_logits(const PackedBatch&) { refuse(); }
const float* ScoringModel::logit_rows(std::int64_t, std::int64_t) { refuse(); }
std::int64_t ScoringModel::logit_stride() const { refuse(); }
std::int64_t ScoringModel::logit_ids() const { refuse(); }
void PolicyModel::train_logits(const PackedBatch&, Transformer::LogitLoss) { refuse(); }

}  // namespace r1
