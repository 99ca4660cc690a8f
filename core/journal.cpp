#include "core/journal.h"

#include <cinttypes>
#include <cstdio>

#include "core/byte_stream.h"
#include "core/error.h"
#include "core/log.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kMagic = "R1JRNL01";
constexpr std::size_t kHeadBytes = 16, kTailBytes = 4;

std::string header(std::uint64_t rollout, const Digest& fingerprint) {
  ByteWriter out;
  out.put_raw(kMagic.data(), kMagic.size());
  out.put(rollout);
  out.put_raw(fingerprint.data(), fingerprint.size());
  out.put(crc32c(out.bytes()));
  return out.take();
}

// The whole records at the start of `bytes`; sets `used` to their length.
std::vector<JournalRecord> read_records(std::string_view bytes, std::size_t& used) {
  std::vector<JournalRecord> records;
  used = 0;
  while (bytes.size() - used >= kHeadBytes + kTailBytes) {
    ByteReader in(bytes.substr(used));
    const auto length = in.get<std::uint32_t>();
    JournalRecord record;
    record.kind = in.get<std::uint32_t>();
    record.key = in.get<std::uint64_t>();
    if (bytes.size() - used - kHeadBytes - kTailBytes < length) break;
    record.payload = bytes.substr(used + kHeadBytes, length);
    ByteReader tail(bytes.substr(used + kHeadBytes + length));
    if (tail.get<std::uint32_t>() != crc32c(bytes.substr(used, kHeadBytes + length))) break;
    used += kHeadBytes + length + kTailBytes;
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace

Journal::Journal(fs::path dir, Options options) : dir_(std::move(dir)), options_(options) { make_directories(dir_); }

fs::path Journal::path_of(std::uint64_t rollout) const {
  char name[64];
  std::snprintf(name, sizeof name, "rollout_%06" PRIu64 ".journal", rollout);
  return dir_ / name;
}

void Journal::discard_others(const fs::path& keep) const {
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(dir_)) {
    if (entry.path().extension() == ".journal" && entry.path() != keep) old.push_back(entry.path());
  }
  for (const auto& path : old) fs::remove(path);
  if (!old.empty()) sync_directory(dir_);
}

std::vector<JournalRecord> Journal::open(std::uint64_t rollout, const Digest& fingerprint) {
  const std::lock_guard lock(mutex_);
  file_.reset();
  const fs::path path = path_of(rollout);
  discard_others(path);
  const std::string head = header(rollout, fingerprint);
  std::vector<JournalRecord> records;
  if (std::error_code none; fs::exists(path, none)) {
    const std::string bytes = read_file(path);
    if (bytes.compare(0, head.size(), head) == 0) {
      std::size_t used = 0;
      records = read_records(std::string_view(bytes).substr(head.size()), used);
      size_ = head.size() + used;
      file_.emplace(path, File::Mode::kAppend);
      if (size_ < bytes.size()) {
        log_warning("journal.torn", {{"text", "the end was cut off by a crash or is damaged; what it held will be sampled again"},
                                     {"file", path}, {"bytes", bytes.size() - size_}, {"records_kept", records.size()}});
        file_->truncate(size_);
      }
    } else {
      if (bytes.size() >= head.size()) {
        log_warning("journal.foreign", {{"text", "written under another configuration or other weights: discarded"}, {"file", path}});
      }
      fs::remove(path);
    }
  }
  if (!file_) {
    write_file_atomic(path, head);
    file_.emplace(path, File::Mode::kAppend);
    size_ = head.size();
  }
  last_sync_ = std::chrono::steady_clock::now();
  return records;
}

void Journal::append(std::uint32_t kind, std::uint64_t key, std::string_view payload) {
  constexpr std::size_t kLimit = std::size_t{1} << 31;
  R1_CHECK(payload.size() < kLimit, "a journal record of ", payload.size(), " bytes, limit ", kLimit);
  ByteWriter out;
  out.put(static_cast<std::uint32_t>(payload.size()));
  out.put(kind);
  out.put(key);
  out.put_raw(payload.data(), payload.size());
  out.put(crc32c(out.bytes()));

  const std::lock_guard lock(mutex_);
  R1_CHECK(file_.has_value(), "append to a journal that is not open");
  try {
    file_->write(out.bytes());
  } catch (const IoError&) {
    // Half a record must not stand before later whole ones.
    file_->truncate(size_);
    throw;
  }
  size_ += out.bytes().size();
  const auto now = std::chrono::steady_clock::now();
  if (now - last_sync_ >= options_.sync_interval) {
    file_->sync();
    last_sync_ = now;
  }
}

void Journal::sync() {
  const std::lock_guard lock(mutex_);
  if (file_) file_->sync();
  last_sync_ = std::chrono::steady_clock::now();
}

}  // namespace r1
