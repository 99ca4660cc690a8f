#include "kd/kd_pass.h"

#include <algorithm>

namespace r1 {

std::vector<double> HostKdPass::train(const MicroBatch& batch, const KdOptions& options, double weight) {
  teacher_.prepare(batch);
  const std::int64_t stride = student_.logit_stride(), ids = student_.logit_ids();
  std::vector<double> losses(batch.tokens.size());
  student_.train_logits(batch.batch, [&](std::int64_t begin, std::int64_t count, float* logits) {
    teacher_.load(begin, count);
    pool_.parallel_for(count, 1, [&](std::int64_t b, std::int64_t e) {
      for (std::int64_t i = b; i < e; ++i)
        losses[static_cast<std::size_t>(begin + i)] =
            teacher_.loss(begin + i, {logits + i * stride, static_cast<std::size_t>(ids)}, options, weight);
    });
  });
  return losses;
}

std::vector<double> HostKdPass::evaluate(const MicroBatch& batch, std::span<const KdOptions> kinds) {
  constexpr std::int64_t kRows = 128;
  const auto ids = static_cast<std::size_t>(student_.logit_ids()), width = kinds.size();
  const std::int64_t stride = student_.logit_stride(), n = static_cast<std::int64_t>(batch.tokens.size());
  student_.prepare_logits(batch.batch);
  teacher_.prepare(batch);
  std::vector<double> losses(static_cast<std::size_t>(n) * width);
  for (std::int64_t first = 0; first < n; first += kRows) {
    const std::int64_t count = std::min(kRows, n - first);
    const float* logits = student_.logit_rows(first, count);
    teacher_.load(first, count);
    pool_.parallel_for(count, 1, [&](std::int64_t b, std::int64_t e) {
      for (std::int64_t i = b; i < e; ++i)
        for (std::size_t k = 0; k < width; ++k) {
          std::vector<float> row(logits + i * stride, logits + i * stride + ids);
          losses[static_cast<std::size_t>(first + i) * width + k] = teacher_.loss(first + i, row, kinds[k], 0);
        }
    });
  }
  return losses;
}

}  // namespace r1
