// A build without Arrow.
#include "core/error.h"
#include "text/parquet.h"

namespace r1 {

struct ParquetReader::Impl {};

bool parquet_available() { return false; }
ParquetReader::ParquetReader(const std::string& path) {
  throw DataError(
      message(path, " is a Parquet file, and this build has no Parquet; run scripts/deps.sh and build again, or convert it to JSON lines"));
}
ParquetReader::~ParquetReader() = default;
bool ParquetReader::next(std::map<std::string, std::string>&) { return false; }

void json_lines_to_parquet(const std::string&, const std::string& parquet) {
  throw ConfigError(message(parquet, ": this build has no Parquet; run scripts/deps.sh and build again, or write JSON lines (output.format: jsonl)"));
}

}  // namespace r1
