// KdPass on the GPU: loss and gradient are made where the logits are, a part of the predictors at a time.
#pragma once

#include "kd/kd_pass.h"
#include "kernels/gpu/divergence.h"
#include "rl/gpu_policy.h"
#include "rl/gpu_teacher.h"

namespace r1 {

// What both kinds of teacher share. All outlive the pass.
class GpuKdPass : public KdPass {
 public:
  explicit GpuKdPass(GpuPolicy& student) : student_(student) {}
  std::vector<double> train(const MicroBatch& batch, const KdOptions& options, double weight) override;
  std::vector<double> evaluate(const MicroBatch& batch, std::span<const KdOptions> kinds) override;

 protected:
  virtual void prepare(const MicroBatch& batch, double temperature) = 0;
  virtual void load(std::int64_t first, std::int64_t count) = 0;  // before divergence() of these predictors
  // loss [count], d_logits [count][ld_v] or null, both on the device.
  virtual void divergence(const gpu::DivergenceArgs& args, std::int64_t count, float* loss, gpu::bf16* d_logits) = 0;
  gpu::DivergenceArgs args_of(const float* logits, const KdOptions& options, double weight) const;
  float* losses(std::size_t n);  // on the device

  GpuPolicy& student_;
  gpu::DeviceMemory losses_;
};

// The teacher is a model beside the student on this GPU.
class GpuLiveKdPass : public GpuKdPass {
 public:
  GpuLiveKdPass(GpuPolicy& student, GpuTeacher& teacher) : GpuKdPass(student), teacher_(teacher) {}

 protected:
  void prepare(const MicroBatch& batch, double temperature) override;
  void load(std::int64_t first, std::int64_t count) override;
  void divergence(const gpu::DivergenceArgs& args, std::int64_t count, float* loss, gpu::bf16* d_logits) override;

 private:
  GpuTeacher& teacher_;
  const float* rows_ = nullptr;
};

// The teacher was stored: rows of its top K go to the device with the predictors that they are of.
class GpuStoreKdPass : public GpuKdPass {
 public:
  GpuStoreKdPass(GpuPolicy& student, TeacherStore& store) : GpuKdPass(student), store_(store) {}

 protected:
  void prepare(const MicroBatch& batch, double temperature) override;
  void load(std::int64_t first, std::int64_t count) override;
  void divergence(const gpu::DivergenceArgs& args, std::int64_t count, float* loss, gpu::bf16* d_logits) override;

 private:
  TeacherStore& store_;
  const MicroBatch* batch_ = nullptr;
  std::vector<std::byte> host_;
  gpu::DeviceMemory rows_;
  gpu::TopKRows top_;
};

}  // namespace r1
