// Where a teacher's distributions come from: a model in this process, or what was stored of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "kd/kd_loss.h"
#include "rl/packing.h"
#include "rl/policy.h"
#include "text/tokenizer.h"

namespace r1 {

// Distributions for the predictors of one micro-batch at a time.
class TeacherRows {
 public:
  virtual ~TeacherRows() = default;
  virtual void prepare(const MicroBatch& batch) = 0;                  // outlives the calls below
  virtual void load(std::int64_t first, std::int64_t count) = 0;      // before loss() of predictors [first, first + count)
  // kd_row() of predictor i against the student's logits. Thread-safe.
  virtual double loss(std::int64_t i, std::span<float> student, const KdOptions& options, double weight) const = 0;
};

class LiveTeacher : public TeacherRows {
 public:
  explicit LiveTeacher(ScoringModel& model) : model_(model) {}  // outlives the teacher
  void prepare(const MicroBatch& batch) override { model_.prepare_logits(batch.batch); }
  void load(std::int64_t first, std::int64_t count) override { first_ = first, rows_ = model_.logit_rows(first, count); }
  double loss(std::int64_t i, std::span<float> student, const KdOptions& options, double weight) const override;

 private:
  ScoringModel& model_;
  std::int64_t first_ = 0;
  const float* rows_ = nullptr;
};

// The top K of every trained token of a set of samples, with the rest of the mass as one number: a safetensors file with ids I32 [N,K],
// logprobs F32 [N,K], tail F32 [N], and metadata: samples (digest), teacher, top_k, temperature.
class TeacherStore : public TeacherRows {
 public:
  struct About {
    std::string teacher;   // its path, as the recipe gave it
    int top_k = 0;
    double temperature = 1;
  };
  // Asks the teacher once for each sample. Throws ConfigError where it has fewer than top_k tokens.
  TeacherStore(ScoringModel& teacher, const About& about, std::vector<TrainSample> samples, std::int64_t tokens_per_micro_batch, ComputePool& pool);
  // Throws CheckpointError, ConfigError: of other samples, another teacher (unless about.teacher is empty), temperature or K (unless 0).
  TeacherStore(const std::filesystem::path& file, const About& about, std::vector<TrainSample> samples);
  void save(const std::filesystem::path& file) const;

  void prepare(const MicroBatch& batch) override { batch_ = &batch; }
  void load(std::int64_t, std::int64_t) override {}
  double loss(std::int64_t i, std::span<float> student, const KdOptions& options, double weight) const override;
  const About& about() const { return about_; }
  TopKRow row(TokenRef token) const;  // of a trained token of the samples; Error for another

 private:
  void index(std::vector<TrainSample> samples);
  About about_;
  std::string samples_digest_;
  std::vector<std::int64_t> first_row_;                // [samples]
  std::vector<std::vector<std::int32_t>> positions_;   // [samples][trained tokens]
  std::int64_t rows_ = 0;
  std::vector<std::int32_t> ids_;
  std::vector<float> logprobs_, tail_;
  const MicroBatch* batch_ = nullptr;
};

// Throws ConfigError naming the first id at which they differ. `teacher`, `student`: names for the message.
void check_same_vocabulary(const Tokenizer& teacher, const std::string& teacher_name, const Tokenizer& student, const std::string& student_name);

}  // namespace r1
