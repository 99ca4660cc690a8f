// The journal of finished rollout work: what was sampled and scored survives a kill, so nothing is sampled twice.
// One append-only file a rollout, `rollout_000012.journal`:
//   header  "R1JRNL01", u64 rollout, 16 bytes fingerprint, u32 crc32c of those
//   record  u32 payload length, u32 kind, u64 key, payload, u32 crc32c of all before
// A record that a crash cut off is dropped when the journal is opened again.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/digest.h"
#include "core/files.h"

namespace r1 {

struct JournalRecord {
  std::uint32_t kind = 0;  // the writer's own: 0 = a scored group, 1 = a sample group, others as agreed
  std::uint64_t key = 0;   // for groups: the prompt's index in the rollout
  std::string payload;
  bool operator==(const JournalRecord&) const = default;
};

class Journal {
 public:
  struct Options {
    // A killed process loses nothing; a power cut loses at most this much. 0 = sync every record.
    std::chrono::milliseconds sync_interval{1000};
  };
  // The folder is made if missing.
  explicit Journal(std::filesystem::path dir) : Journal(std::move(dir), Options{}) {}
  Journal(std::filesystem::path dir, Options options);

  // Starts or continues the rollout's file and returns its whole records in the order written. `fingerprint` names what
  // the records depend on (configuration, weights): a file with another one is discarded with a log message, as are
  // the files of all other rollouts.
  std::vector<JournalRecord> open(std::uint64_t rollout, const Digest& fingerprint);
  // Thread-safe. Throws IoError; then the journal is shortened to whole records again.
  void append(std::uint32_t kind, std::uint64_t key, std::string_view payload);
  void sync();

 private:
  std::filesystem::path path_of(std::uint64_t rollout) const;
  void discard_others(const std::filesystem::path& keep) const;
  std::filesystem::path dir_;
  Options options_;
  std::mutex mutex_;
  std::optional<File> file_;
  std::uint64_t size_ = 0;  // bytes of whole records
  std::chrono::steady_clock::time_point last_sync_;
};

}  // namespace r1
