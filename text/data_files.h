// Data files as text, unpacked where they are gzip or zstd archives: as a stream, or whole.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace r1 {

// Files that the paths, glob patterns and hub names (hf://org/name, downloaded before) name, in order. Throws DataError for one that names none.
std::vector<std::string> expand_paths(const std::vector<std::string>& paths);

// A file from its beginning; an archive is known by its first bytes. Memory does not grow with the file. Not thread-safe.
class DataStream {
 public:
  // Throws DataError for a missing or unreadable file, a folder, and Parquet, which is no text.
  explicit DataStream(const std::string& path);
  ~DataStream();
  DataStream(const DataStream&) = delete;
  DataStream& operator=(const DataStream&) = delete;
  // Appends some bytes (at most about 256 KiB) to `out`; false at the end. Throws DataError for an archive that is
  // damaged or cut off.
  bool read(std::string& out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The whole contents of a DataStream.
std::string read_data_file(const std::string& path);

}  // namespace r1
