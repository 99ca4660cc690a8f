#include "kd/gpu_kd_pass.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace r1 {

gpu::DivergenceArgs GpuKdPass::args_of(const float* logits, const KdOptions& o, double weight) const {
  const GpuTransformer& model = student_.model();
  const double beta = o.divergence == Divergence::kForward ? 0 : o.divergence == Divergence::kReverse ? 1 : o.beta;
  return {logits, model.shape().ld_v, model.vocab_limit(), static_cast<float>(o.temperature), static_cast<float>(beta), static_cast<float>(weight)};
}

float* GpuKdPass::losses(std::size_t n) {
  if (losses_.bytes() < n * sizeof(float)) losses_ = gpu::DeviceMemory(n * sizeof(float));
  return losses_.as<float>();
}

std::vector<double> GpuKdPass::train(const MicroBatch& batch, const KdOptions& options, double weight) {
  prepare(batch, options.temperature);
  GpuTransformer& model = student_.model();
  std::vector<float> host(batch.tokens.size());
  float* device = losses(host.size());
  student_.train_device_logits(batch.batch, [&](std::int64_t first, std::int64_t count, const float* logits, gpu::bf16* d_logits) {
    load(first, count);
    divergence(args_of(logits, options, weight), count, device + first, d_logits);
  });
  gpu::copy_to_host(model.stream(), host.data(), device, host.size() * sizeof(float));
  model.synchronize();
  return {host.begin(), host.end()};
}

std::vector<double> GpuKdPass::evaluate(const MicroBatch& batch, std::span<const KdOptions> kinds) {
  R1_CHECK(!kinds.empty(), "no divergence to evaluate");
  const auto n = static_cast<std::int64_t>(batch.tokens.size());
  const std::size_t width = kinds.size();
  prepare(batch, kinds[0].temperature);
  GpuTransformer& model = student_.model();
  student_.training().prepare_logits(batch.batch);
  std::vector<float> host(static_cast<std::size_t>(n) * width);
  float* device = losses(host.size());  // [kinds][n]
  for (std::int64_t first = 0; first < n; first += GpuTraining::kHeadRows) {
    const std::int64_t count = std::min(GpuTraining::kHeadRows, n - first);
    const float* logits = student_.training().logit_rows(first, count);
    load(first, count);
    for (std::size_t k = 0; k < width; ++k) {
      R1_CHECK(kinds[k].temperature == kinds[0].temperature, "divergences of two temperatures in one pass");
      divergence(args_of(logits, kinds[k], 0), count, device + static_cast<std::int64_t>(k) * n + first, nullptr);
    }
  }
  gpu::copy_to_host(model.stream(), host.data(), device, host.size() * sizeof(float));
  model.synchronize();
  std::vector<double> out(host.size());
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
    for (std::size_t k = 0; k < width; ++k) out[i * width + k] = host[k * static_cast<std::size_t>(n) + i];
  return out;
}

// ---- live -------------------------------------------------------------------------------------------------------------

void GpuLiveKdPass::prepare(const MicroBatch& batch, double) {
  R1_CHECK(teacher_.logit_ids() == student_.model().vocab_limit(), "a student of ", student_.model().vocab_limit(), " tokens, a teacher of ",
           teacher_.logit_ids());
  teacher_.prepare_logits(batch.batch);
}

void GpuLiveKdPass::load(std::int64_t first, std::int64_t count) { rows_ = teacher_.device_rows(first, count, student_.model().stream()); }

void GpuLiveKdPass::divergence(const gpu::DivergenceArgs& args, std::int64_t count, float* loss, gpu::bf16* d_logits) {
  gpu::divergence_rows(student_.model().stream(), args, rows_, teacher_.logit_stride(), count, loss, d_logits, args.ld);
}

// ---- stored -----------------------------------------------------------------------------------------------------------

void GpuStoreKdPass::prepare(const MicroBatch& batch, double temperature) {
  R1_CHECK(temperature == store_.about().temperature, "the store is of temperature ", store_.about().temperature, ", the loss of ", temperature);
  batch_ = &batch;
}

void GpuStoreKdPass::load(std::int64_t first, std::int64_t count) {
  const auto k = static_cast<std::size_t>(store_.about().top_k), n = static_cast<std::size_t>(count);
  // ids [n][k], then ln p [n][k], then tails [n], in one copy.
  host_.resize(n * (2 * k + 1) * 4);
  auto* ids = reinterpret_cast<std::int32_t*>(host_.data());
  auto* logprobs = reinterpret_cast<float*>(ids + n * k);
  float* tails = logprobs + n * k;
  for (std::size_t i = 0; i < n; ++i) {
    const TopKRow row = store_.row(batch_->tokens[static_cast<std::size_t>(first) + i]);
    std::copy(row.ids.begin(), row.ids.end(), ids + i * k);
    std::copy(row.logprobs.begin(), row.logprobs.end(), logprobs + i * k);
    tails[i] = row.tail_logprob;
  }
  if (rows_.bytes() < host_.size()) {
    student_.model().synchronize();  // the old memory is read no more
    rows_ = gpu::DeviceMemory(host_.size());
  }
  gpu::copy_to_device(student_.model().stream(), rows_.data(), host_.data(), host_.size());
  const auto* device = rows_.as<std::int32_t>();
  const auto* values = reinterpret_cast<const float*>(device + n * k);
  top_ = {device, values, values + n * k, static_cast<std::int64_t>(k)};
}

void GpuStoreKdPass::divergence(const gpu::DivergenceArgs& args, std::int64_t count, float* loss, gpu::bf16* d_logits) {
  gpu::divergence_rows_top_k(student_.model().stream(), args, top_, count, loss, d_logits, args.ld);
}

}  // namespace r1
