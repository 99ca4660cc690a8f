#include "kd/teacher.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <numeric>
#include <utility>

#include "core/digest.h"
#include "core/error.h"
#include "model/safetensors.h"
#include "rl/train_samples.h"

namespace r1 {
namespace {

template <class T>
void copy_tensor(const SafetensorsFile& file, const char* name, DType dtype, std::vector<std::int64_t> shape, std::vector<T>& out) {
  const TensorView& t = file.at(name);
  if (t.dtype != dtype || t.shape != shape)
    throw CheckpointError(message(file.path().string(), ": ", name, " is not ", safetensors_name(dtype), " of the shape that the samples need"));
  out.resize(static_cast<std::size_t>(t.elements()));
  std::memcpy(out.data(), t.data, t.bytes());
}

std::string entry(const SafetensorsFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) throw CheckpointError(message(file.path().string(), " is no store of a teacher: it lacks the entry ", key));
  return found->second;
}

double number(const SafetensorsFile& file, const char* key) {
  const std::string text = entry(file, key);
  double value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{})
    throw CheckpointError(message(file.path().string(), ": ", key, " is \"", text, "\""));
  return value;
}

std::string shown(const Tokenizer& t, TokenId id) { return id < t.vocab_size() ? "\"" + t.token_bytes(id) + "\"" : "missing"; }

}  // namespace

double LiveTeacher::loss(std::int64_t i, std::span<float> student, const KdOptions& options, double weight) const {
  R1_CHECK(static_cast<std::int64_t>(student.size()) == model_.logit_ids(), "a student of ", student.size(), " tokens, a teacher of ",
           model_.logit_ids());
  return kd_row(student, {rows_ + (i - first_) * model_.logit_stride(), student.size()}, options, weight);
}

void TeacherStore::index(std::vector<TrainSample> samples) {
  samples_digest_ = to_hex(digest_of(samples));
  for (const TrainSample& s : samples) {
    first_row_.push_back(rows_);
    positions_.emplace_back();
    for (std::size_t t = 0; t < s.loss_mask.size(); ++t)
      if (s.loss_mask[t]) positions_.back().push_back(static_cast<std::int32_t>(t));
    rows_ += static_cast<std::int64_t>(positions_.back().size());
  }
}

TeacherStore::TeacherStore(ScoringModel& teacher, const About& about, std::vector<TrainSample> samples, std::int64_t budget, ComputePool& pool)
    : about_(about) {
  const std::int64_t k = about.top_k;
  if (k < 1 || k > teacher.logit_ids()) throw ConfigError(message("distill.top_k is ", k, "; the teacher has ", teacher.logit_ids(), " tokens"));
  index(samples);
  ids_.resize(static_cast<std::size_t>(rows_ * k));
  logprobs_.resize(ids_.size());
  tail_.resize(static_cast<std::size_t>(rows_));
  std::vector<std::int32_t> all(samples.size());
  std::iota(all.begin(), all.end(), 0);
  for (const auto& part : plan_micro_batches(samples, all, budget)) {
    const MicroBatch batch = build_micro_batch(samples, part);
    teacher.prepare_logits(batch.batch);
    constexpr std::int64_t kRows = 256;
    const auto n = static_cast<std::int64_t>(batch.tokens.size());
    for (std::int64_t first = 0; first < n; first += kRows) {
      const std::int64_t count = std::min(kRows, n - first);
      const float* logits = teacher.logit_rows(first, count);
      pool.parallel_for(count, 1, [&](std::int64_t b, std::int64_t e) {
        for (std::int64_t i = b; i < e; ++i) {
          const TokenRef t = batch.tokens[static_cast<std::size_t>(first + i)];
          const auto& marked = positions_[static_cast<std::size_t>(t.sample)];
          const auto at = static_cast<std::size_t>(first_row_[static_cast<std::size_t>(t.sample)] +
                                                   (std::lower_bound(marked.begin(), marked.end(), t.position) - marked.begin()));
          const auto width = static_cast<std::size_t>(k);
          tail_[at] = top_k_of({logits + i * teacher.logit_stride(), static_cast<std::size_t>(teacher.logit_ids())}, about_.temperature,
                               {ids_.data() + at * width, width}, {logprobs_.data() + at * width, width});
        }
      });
    }
  }
}

TeacherStore::TeacherStore(const std::filesystem::path& path, const About& about, std::vector<TrainSample> samples) {
  const SafetensorsFile file(path);
  index(std::move(samples));
  about_ = {entry(file, "teacher"), static_cast<int>(number(file, "top_k")), number(file, "temperature")};
  const auto differs = [&](const std::string& what) {
    throw ConfigError(message(path.string(), " holds ", what, "; delete it to have it made again, or name another distill.store"));
  };
  if (entry(file, "samples") != samples_digest_) differs("a teacher's distributions of other texts than these");
  if (!about.teacher.empty() && about.teacher != about_.teacher) differs(message("those of ", about_.teacher, ", not of ", about.teacher));
  if (about.temperature != about_.temperature) differs(message("distributions at temperature ", about_.temperature, ", not ", about.temperature));
  if (about.top_k != 0 && about.top_k != about_.top_k) differs(message("the top ", about_.top_k, ", not ", about.top_k));
  copy_tensor(file, "ids", DType::kI32, {rows_, about_.top_k}, ids_);
  copy_tensor(file, "logprobs", DType::kF32, {rows_, about_.top_k}, logprobs_);
  copy_tensor(file, "tail", DType::kF32, {rows_}, tail_);
}

void TeacherStore::save(const std::filesystem::path& file) const {
  const std::int64_t k = about_.top_k;
  const std::vector<TensorView> tensors = {{"ids", DType::kI32, {rows_, k}, reinterpret_cast<const std::byte*>(ids_.data()), -1},
                                           {"logprobs", DType::kF32, {rows_, k}, reinterpret_cast<const std::byte*>(logprobs_.data()), -1},
                                           {"tail", DType::kF32, {rows_}, reinterpret_cast<const std::byte*>(tail_.data()), -1}};
  char temperature[40];
  const auto end = std::to_chars(temperature, temperature + sizeof temperature, about_.temperature).ptr;
  SafetensorsWriteOptions options;
  options.metadata = {
      {"samples", samples_digest_}, {"teacher", about_.teacher}, {"top_k", std::to_string(k)}, {"temperature", std::string(temperature, end)}};
  write_safetensors(file, tensors, options);
}

TopKRow TeacherStore::row(TokenRef token) const {
  const auto& marked = positions_[static_cast<std::size_t>(token.sample)];
  const auto found = std::lower_bound(marked.begin(), marked.end(), token.position);
  R1_CHECK(found != marked.end() && *found == token.position, "token ", token.position, " of sample ", token.sample, " was not stored");
  const auto at = static_cast<std::size_t>(first_row_[static_cast<std::size_t>(token.sample)] + (found - marked.begin()));
  const auto k = static_cast<std::size_t>(about_.top_k);
  return {{ids_.data() + at * k, k}, {logprobs_.data() + at * k, k}, tail_[at]};
}

double TeacherStore::loss(std::int64_t i, std::span<float> student, const KdOptions& options, double weight) const {
  R1_CHECK(options.temperature == about_.temperature, "the store is of temperature ", about_.temperature, ", the loss of ", options.temperature);
  return kd_row_top_k(student, row(batch_->tokens[static_cast<std::size_t>(i)]), options, weight);
}

void check_same_vocabulary(const Tokenizer& teacher, const std::string& teacher_name, const Tokenizer& student, const std::string& student_name) {
  const auto n = static_cast<TokenId>(std::max(teacher.vocab_size(), student.vocab_size()));
  for (TokenId id = 0; id < n; ++id) {
    const bool both = id < teacher.vocab_size() && id < student.vocab_size();
    if (both && teacher.token_bytes(id) == student.token_bytes(id)) continue;
    throw ConfigError(message(
        "distill: teacher ", teacher_name, " (", teacher.vocab_size(), " tokens) and student ", student_name, " (", student.vocab_size(),
        " tokens) have different vocabularies: token ", id, " is ", shown(teacher, id), " and ", shown(student, id),
        "; their distributions cannot be compared: use mode: sft, which learns from the teacher's texts, or a teacher of the student's family"));
  }
}

}  // namespace r1
