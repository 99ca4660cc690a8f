// Parquet files as rows of JSON, by Arrow's C++ library. Where a build has none, the functions say so (no_parquet.cpp).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace r1 {

bool parquet_available();
// By its first bytes; false for a file that cannot be read.
bool is_parquet(const std::string& path);

// Rows in order, a batch in memory at a time. Numbers, texts, booleans, lists, structs and maps become the JSON of the same
// kind, null is null; dates, decimals and the like become texts. Not thread-safe.
class ParquetReader {
 public:
  // Throws DataError for a damaged file, and where this build has no Parquet.
  explicit ParquetReader(const std::string& path);
  ~ParquetReader();
  ParquetReader(const ParquetReader&) = delete;
  ParquetReader& operator=(const ParquetReader&) = delete;
  // Column name -> JSON text; false at the end. Throws DataError naming file, row and column for bytes that are no UTF-8
  // and types that have no JSON.
  bool next(std::map<std::string, std::string>& columns);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Writes a file of JSON lines (objects) as Parquet, in two passes: the columns' types first (a whole number beside a fraction
// makes it a double; a column without any value is a text), then the rows. Memory does not grow with the file. Throws
// DataError naming line and column where a column's types do not go together; IoError; ConfigError without Parquet. The
// target appears when it is complete.
void json_lines_to_parquet(const std::string& json_lines, const std::string& parquet);

}  // namespace r1
