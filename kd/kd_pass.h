// A student's loss against a teacher, a micro-batch at a time, on the device that the student is on.
#pragma once

#include <span>
#include <vector>

#include "core/compute_pool.h"
#include "kd/teacher.h"

namespace r1 {

// Not thread-safe. `batch` names its tokens (batch.tokens) by place in the texts that the teacher knows.
class KdPass {
 public:
  virtual ~KdPass() = default;
  // Of every predictor the divergence times temperature^2, nats [M]; weight times its gradient is added to the student's arena.
  virtual std::vector<double> train(const MicroBatch& batch, const KdOptions& options, double weight) = 0;
  // The same for each of `kinds`, [M][kinds], of one temperature; the gradient is left alone.
  virtual std::vector<double> evaluate(const MicroBatch& batch, std::span<const KdOptions> kinds) = 0;
};

// By kd_row() on the host, over logits as the models give them.
class HostKdPass : public KdPass {
 public:
  HostKdPass(PolicyModel& student, TeacherRows& teacher, ComputePool& pool) : student_(student), teacher_(teacher), pool_(pool) {}  // all outlive it
  std::vector<double> train(const MicroBatch& batch, const KdOptions& options, double weight) override;
  std::vector<double> evaluate(const MicroBatch& batch, std::span<const KdOptions> kinds) override;

 private:
  PolicyModel& student_;
  TeacherRows& teacher_;
  ComputePool& pool_;
};

}  // namespace r1
