#include "rl/gpu_teacher.h"

#include <algorithm>

namespace r1 {

std::size_t GpuTeacher::pass_bytes(std::int64_t rows) const {
  using Kind = GpuTraining::HeadKind;
  return std::max(training_.bytes_needed(rows, rows, {Kind::kLogprobs, false, false}), training_.bytes_needed(rows, rows, {Kind::kDistributions, false, false}));
}

void GpuTeacher::reserve(std::int64_t rows) {
  memory_ = gpu::DeviceMemory(pass_bytes(rows));
  region_.data = memory_.data(), region_.bytes = memory_.bytes();
}

const float* GpuTeacher::device_rows(std::int64_t first, std::int64_t count, gpu::Stream reader) {
  if (reader_ != nullptr) {
    read_.record(reader_);
    read_.make_wait(model_.stream());
  }
  const float* rows = training_.logit_rows(first, count);
  made_.record(model_.stream());
  made_.make_wait(reader);
  reader_ = reader;
  return rows;
}

const float* GpuTeacher::logit_rows(std::int64_t first, std::int64_t count) {
  host_rows_.resize(static_cast<std::size_t>(count * logit_stride()));
  gpu::copy_to_host(model_.stream(), host_rows_.data(), training_.logit_rows(first, count), host_rows_.size() * sizeof(float));
  model_.synchronize();
  return host_rows_.data();
}

}  // namespace r1
