#include "core/tensorboard.h"

#include <array>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstring>

#include <unistd.h>

#include "core/digest.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "events.out.tfevents.";

void put_little_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

// Protobuf's wire format: a field is (number << 3 | type) as varint, then varint (0), 8 bytes (1), length + bytes (2)
// or 4 bytes (5).
void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void put_key(std::string& out, int field, int type) { put_varint(out, static_cast<std::uint64_t>(field << 3 | type)); }
void put_int(std::string& out, int field, std::int64_t value) {
  put_key(out, field, 0);
  put_varint(out, static_cast<std::uint64_t>(value));
}
void put_double(std::string& out, int field, double value) {
  put_key(out, field, 1);
  put_little_endian(out, std::bit_cast<std::uint64_t>(value), 8);
}
void put_float(std::string& out, int field, float value) {
  put_key(out, field, 5);
  put_little_endian(out, std::bit_cast<std::uint32_t>(value), 4);
}
void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_key(out, field, 2);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string event_head(double wall_time, std::int64_t step) {
  std::string event;
  put_double(event, 1, wall_time);
  put_int(event, 2, step);
  return event;
}

// TensorBoard reads a folder's files in the order of their names, so a new file must sort behind all older ones, also
// when two starts fall into one second or the clock went back.
fs::path new_file_name(const fs::path& dir) {
  std::int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  for (const auto& entry : fs::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(kPrefix, 0) != 0) continue;
    seconds = std::max<std::int64_t>(seconds, std::atoll(name.c_str() + kPrefix.size()) + 1);
  }
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) std::strcpy(host.data(), "localhost");
  std::array<char, 32> digits;
  std::snprintf(digits.data(), digits.size(), "%010lld", static_cast<long long>(seconds));
  return dir / (std::string(kPrefix) + digits.data() + "." + host.data() + "." + std::to_string(getpid()) + ".r1");
}

}  // namespace

std::string tfrecord(std::string_view data) {
  std::string record;
  put_little_endian(record, data.size(), 8);
  put_little_endian(record, masked_crc32c(record), 4);
  record += data;
  put_little_endian(record, masked_crc32c(data), 4);
  return record;
}

namespace tensorboard {

std::string version_event(double wall_time) {
  std::string event;
  put_double(event, 1, wall_time);
  put_bytes(event, 3, "brain.Event:2");
  return event;
}

std::string start_event(double wall_time, std::int64_t step) {
  std::string log, event = event_head(wall_time, step);
  put_int(log, 1, 1);  // SessionLog.status = START
  put_bytes(event, 7, log);
  return event;
}

std::string scalars_event(double wall_time, std::int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  std::string summary;
  for (const auto& [name, number] : values) {
    std::string value;
    put_bytes(value, 1, name);
    put_float(value, 2, static_cast<float>(number));
    put_bytes(summary, 1, value);
  }
  std::string event = event_head(wall_time, step);
  put_bytes(event, 5, summary);
  return event;
}

std::string text_event(double wall_time, std::int64_t step, const std::string& tag, const std::string& markdown) {
  std::string dimension, shape, tensor, plugin, metadata, value, summary, event = event_head(wall_time, step);
  put_int(dimension, 1, 1);
  put_bytes(shape, 2, dimension);
  put_int(tensor, 1, 7);  // DT_STRING
  put_bytes(tensor, 2, shape);
  put_bytes(tensor, 8, markdown);
  put_bytes(plugin, 1, "text");
  put_bytes(metadata, 1, plugin);
  put_bytes(value, 1, tag);
  put_bytes(value, 8, tensor);
  put_bytes(value, 9, metadata);
  put_bytes(summary, 1, value);
  put_bytes(event, 5, summary);
  return event;
}

}  // namespace tensorboard

TensorBoardWriter::TensorBoardWriter(const fs::path& dir, std::optional<std::int64_t> resumed_at)
    : file_(new_file_name(dir), File::Mode::kCreateNew) {
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::string head = tfrecord(tensorboard::version_event(now));
  if (resumed_at) head += tfrecord(tensorboard::start_event(now, *resumed_at));
  file_.write(head);
}

void TensorBoardWriter::scalars(std::int64_t step, double wall_time, const std::vector<std::pair<std::string, double>>& values) {
  file_.write(tfrecord(tensorboard::scalars_event(wall_time, step, values)));
}

void TensorBoardWriter::text(std::int64_t step, double wall_time, const std::string& tag, const std::string& markdown) {
  file_.write(tfrecord(tensorboard::text_event(wall_time, step, tag, markdown)));
}

void TensorBoardWriter::remove_old(const fs::path& dir) {
  std::error_code none;
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(dir, none)) {
    if (entry.path().filename().string().rfind(kPrefix, 0) == 0) old.push_back(entry.path());
  }
  for (const auto& path : old) fs::remove(path, none);
}

}  // namespace r1
