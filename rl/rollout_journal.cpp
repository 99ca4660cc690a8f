#include "rl/rollout_journal.h"

#include <charconv>
#include <cstdio>

#include "core/error.h"
#include "core/serialize.h"

namespace r1 {
namespace {

constexpr std::uint32_t kScores = 2, kCompletion = 3;
constexpr int kSampleBits = 20;  // a key is prompt index << 20 | sample

std::string folder_name(std::uint64_t rollout) {
  char name[32];
  std::snprintf(name, sizeof name, "%06llu", static_cast<unsigned long long>(rollout));
  return name;
}

}  // namespace

RolloutJournal::Contents RolloutJournal::open(std::uint64_t rollout, const Digest& fingerprint) {
  Contents out;
  if (root_.empty()) return out;
  journal_ = std::make_unique<Journal>(root_ / folder_name(rollout));
  for (const JournalRecord& record : journal_->open(rollout, fingerprint)) {
    const std::uint64_t index = record.key >> kSampleBits;
    if (record.kind == kScores) {
      out.scores[index] = scored_group_from_bytes(record.payload).scores;
    } else if (record.kind == kCompletion) {
      const int sample = static_cast<int>(record.key & ((std::uint64_t{1} << kSampleBits) - 1));
      SampleGroup group = sample_group_from_bytes(record.payload);
      if (group.completions.size() == 1) out.completions[index][sample] = std::move(group.completions[0]);
    }
  }
  return out;
}

void RolloutJournal::append_completion(std::uint64_t prompt_index, int sample, const Completion& completion) {
  if (!journal_) return;
  R1_CHECK(sample >= 0 && sample < (1 << kSampleBits) && prompt_index < (std::uint64_t{1} << (64 - kSampleBits)),
           "sample ", sample, " of prompt ", prompt_index, " does not fit a journal key");
  SampleGroup group;
  group.completions.push_back(completion);
  journal_->append(kCompletion, (prompt_index << kSampleBits) | static_cast<std::uint64_t>(sample), to_bytes(group));
}

void RolloutJournal::append_scores(std::uint64_t prompt_index, const std::vector<Score>& scores) {
  if (!journal_) return;
  ScoredGroup group;
  group.scores = scores;
  journal_->append(kScores, prompt_index << kSampleBits, to_bytes(group));
}

void RolloutJournal::sync() {
  if (journal_) journal_->sync();
}

void RolloutJournal::drop_before(std::uint64_t rollout) {
  if (root_.empty() || !std::filesystem::exists(root_)) return;
  std::vector<std::filesystem::path> old;
  for (const auto& entry : std::filesystem::directory_iterator(root_)) {
    const std::string name = entry.path().filename().string();
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error == std::errc{} && end == name.data() + name.size() && number < rollout) old.push_back(entry.path());
  }
  for (const auto& path : old) {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) throw IoError(message("cannot delete ", path.string(), ": ", error.message()));
  }
}

}  // namespace r1
