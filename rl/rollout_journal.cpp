#include "rl/rollout_journal.h"

#include <charconv>
#include <cstdio>

#include "core/error.h"
#include "core/serialize.h"

namespace r1 {
namespace {

constexpr std::uint32_t kScores = 2, kCompletion = 3;
constexpr int kSampleBits = 20;  // a key is prompt index << 20 | sample

// What a rank sends of a record, and what is told of those found.
struct Posted {
  std::uint64_t rollout = 0;
  JournalRecord record;
};
std::string record_bytes(std::uint64_t rollout, std::uint32_t kind, std::uint64_t key, const std::string& payload) {
  const std::uint64_t head[3] = {rollout, kind, key};
  return bytes_of(std::span<const std::uint64_t>(head)) + payload;
}
Posted record_from(std::string_view bytes) {
  const std::vector<std::uint64_t> head = values_of<std::uint64_t>(bytes.substr(0, 24));
  R1_CHECK(head.size() == 3, "a journal record of ", bytes.size(), " bytes");
  return {head[0], {static_cast<std::uint32_t>(head[1]), head[2], std::string(bytes.substr(24))}};
}

std::string folder_name(std::uint64_t rollout) {
  char name[32];
  std::snprintf(name, sizeof name, "%06llu", static_cast<unsigned long long>(rollout));
  return name;
}

}  // namespace

RolloutJournal::RolloutJournal(std::filesystem::path root, const Ranks* ranks) : root_(std::move(root)), ranks_(ranks && !ranks->alone() ? ranks : nullptr) {
  if (ranks_ && writes()) ranks_->session()->set_post_handler([this](int, std::string_view post) { take_post(post); });
}

RolloutJournal::~RolloutJournal() {
  if (ranks_ && writes()) ranks_->session()->set_post_handler({});
}

RolloutJournal::Contents RolloutJournal::open(std::uint64_t rollout, const Digest& fingerprint) {
  Contents out;
  std::vector<JournalRecord> found;
  {
    const std::lock_guard lock(mutex_);
    rollout_ = rollout;
    if (!root_.empty() && writes()) {
      journal_ = std::make_unique<Journal>(root_ / folder_name(rollout));
      found = journal_->open(rollout, fingerprint);
    }
  }
  if (ranks_) {
    std::string bytes;
    for (const JournalRecord& r : found) append_record(bytes, record_bytes(rollout, r.kind, r.key, r.payload));
    ranks_->broadcast(bytes, "the journal");
    found.clear();
    for (std::string_view rest = bytes; !rest.empty();) found.push_back(record_from(take_record(rest)).record);
  }
  for (const JournalRecord& record : found) {
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

void RolloutJournal::append(std::uint32_t kind, std::uint64_t key, const std::string& payload) {
  if (ranks_ && !ranks_->speaks()) return;
  if (!writes()) return ranks_->session()->post(record_bytes(rollout_, kind, key, payload));
  const std::lock_guard lock(mutex_);
  if (journal_) journal_->append(kind, key, payload);
}

// On the rendezvous' thread.
void RolloutJournal::take_post(std::string_view post) {
  const Posted posted = record_from(post);
  const std::lock_guard lock(mutex_);
  if (!journal_ || posted.rollout != rollout_) return;  // a checkpoint or the next rollout was faster
  try {
    journal_->append(posted.record.kind, posted.record.key, posted.record.payload);
  } catch (const IoError& e) {
    request_abort(e.what());
  }
}

void RolloutJournal::append_completion(std::uint64_t prompt_index, int sample, const Completion& completion) {
  if (root_.empty() && writes()) return;
  R1_CHECK(sample >= 0 && sample < (1 << kSampleBits) && prompt_index < (std::uint64_t{1} << (64 - kSampleBits)),
           "sample ", sample, " of prompt ", prompt_index, " does not fit a journal key");
  SampleGroup group;
  group.completions.push_back(completion);
  append(kCompletion, (prompt_index << kSampleBits) | static_cast<std::uint64_t>(sample), to_bytes(group));
}

void RolloutJournal::append_scores(std::uint64_t prompt_index, const std::vector<Score>& scores) {
  if (root_.empty() && writes()) return;
  ScoredGroup group;
  group.scores = scores;
  append(kScores, prompt_index << kSampleBits, to_bytes(group));
}

void RolloutJournal::sync() {
  if (journal_) journal_->sync();
}

void RolloutJournal::drop_before(std::uint64_t rollout) {
  if (root_.empty() || !writes() || !std::filesystem::exists(root_)) return;
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
