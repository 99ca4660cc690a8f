// TensorBoard event files, written by hand: TFRecord framing (length, masked CRC-32C) around protobuf messages
// (tensorflow/core/util/event.proto, framework/summary.proto). Scalars and texts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/files.h"

namespace r1 {

// One TFRecord: u64 length, masked crc of it, data, masked crc of the data; little-endian.
std::string tfrecord(std::string_view data);

// Serialised Event messages. wall_time in seconds since 1970.
namespace tensorboard {
std::string version_event(double wall_time);                                       // must be a file's first
std::string start_event(double wall_time, std::int64_t step);                      // SessionLog START
std::string scalars_event(double wall_time, std::int64_t step, const std::vector<std::pair<std::string, double>>& values);
std::string text_event(double wall_time, std::int64_t step, const std::string& tag, const std::string& markdown);
}  // namespace tensorboard

// One event file in `dir`. Each call is one write(2), so a reader sees whole records. Throws IoError.
class TensorBoardWriter {
 public:
  // A resumed run gives the first step it will write: TensorBoard then drops what older files hold from there on.
  TensorBoardWriter(const std::filesystem::path& dir, std::optional<std::int64_t> resumed_at);
  void scalars(std::int64_t step, double wall_time, const std::vector<std::pair<std::string, double>>& values);
  void text(std::int64_t step, double wall_time, const std::string& tag, const std::string& markdown);
  void sync() { file_.sync(); }
  const std::filesystem::path& path() const { return file_.path(); }

  static void remove_old(const std::filesystem::path& dir);  // every event file

 private:
  File file_;
};

}  // namespace r1
