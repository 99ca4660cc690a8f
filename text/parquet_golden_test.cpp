// Parquet files of pyarrow, pandas and datasets read here, and ours by them: tests/golden/parquet_files.py. R1_GOLDEN_PYTHON names
// a Python that has the packages.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "core/files.h"
#include "tests/support/support.h"
#include "text/parquet.h"
#include "text/parquet_test_support.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

TEST_CASE("Parquet of pyarrow, pandas and datasets is read; ours is read by them") {
  const char* python = std::getenv("R1_GOLDEN_PYTHON");
  if (!python) return test::skip("R1_GOLDEN_PYTHON is not set");
  if (!parquet_available()) return test::skip("no Parquet in this build");
  if (std::system((std::string(python) + " -c 'import pyarrow, pandas, datasets' 2> /dev/null").c_str()) != 0)
    return test::skip("R1_GOLDEN_PYTHON lacks pyarrow, pandas or datasets");
  const test::TempDir dir;
  const auto script = [&](const std::string& arguments) {
    return std::system(("HF_HUB_OFFLINE=1 HF_DATASETS_CACHE='" + (dir / "cache").string() + "' " + python +
                        " -B '" R1_SOURCE_DIR "/tests/golden/parquet_files.py' " + arguments + " > '" + (dir / "log").string() + "' 2>&1")
                           .c_str());
  };
  REQUIRE_MESSAGE(script("make '" + dir.path().string() + "'") == 0, read_file(dir / "log"));
  int files = 0;
  std::string to_check;
  for (const char* name : {"snappy", "zstd_small_groups", "gzip_v1", "plain", "v2_pages", "pandas", "datasets", "kinds"}) {
    const std::string lines = (dir / (std::string(name) + ".jsonl")).string(), columns = (dir / (std::string(name) + ".parquet")).string();
    const auto wanted = test::rows_of<Json>(lines), got = test::rows_of<Json>(columns);
    REQUIRE(got.size() == wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      if (got[i] != wanted[i]) CHECK_MESSAGE(got[i] == wanted[i], name);
    ++files;
    if (std::string(name) == "kinds") continue;  // holds a number beyond 63 bits
    const std::string ours = (dir / (std::string(name) + ".ours.parquet")).string();
    json_lines_to_parquet(lines, ours);
    to_check += " '" + ours + "' '" + lines + "'";
  }
  REQUIRE_MESSAGE(script("check" + to_check) == 0, read_file(dir / "log"));
  MESSAGE(files, " files of theirs read, ", files - 1, " of ours read by pyarrow, pandas and datasets");
}

}  // namespace
}  // namespace r1
