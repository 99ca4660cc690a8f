#include "core/metrics.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/error.h"
#include "core/tensorboard.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST_CASE("statistics: mean, extremes, spread, weights") {
  Statistics s;
  CHECK(std::isnan(s.mean()));
  CHECK(std::isnan(s.min()));
  for (const double x : {2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0}) s.add(x);
  CHECK(s.count() == 8);
  CHECK(s.mean() == doctest::Approx(5.0));
  CHECK(s.std() == doctest::Approx(2.0));
  CHECK(s.min() == 2.0);
  CHECK(s.max() == 9.0);
  CHECK(s.sum() == doctest::Approx(40.0));
  Statistics weighted;
  weighted.add(1.0, 3.0);
  weighted.add(5.0, 1.0);
  weighted.add(100.0, 0.0);
  CHECK(weighted.mean() == doctest::Approx(2.0));
  CHECK(weighted.std() == doctest::Approx(std::sqrt(3.0)));
  CHECK(weighted.max() == 100.0);
  // Large offset: a sum of squares would lose everything.
  Statistics offset;
  for (const double x : {1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16}) offset.add(x);
  CHECK(offset.std() == doctest::Approx(std::sqrt(22.5)));
  s.add(kNaN);
  CHECK(std::isnan(s.mean()));
  CHECK(std::isnan(s.max()));
}

std::vector<nlohmann::json> records(const fs::path& path) {
  std::vector<nlohmann::json> lines;
  const std::string text = read_file(path);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back(nlohmann::json::parse(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return lines;
}

TEST_CASE("one JSON line a step; NaN is null; a resumed run cuts the steps that come again") {
  const test::TempDir dir;
  const fs::path file = dir / "metrics.jsonl";
  {
    MetricsWriter writer({file, {}, std::nullopt});
    for (int step = 1; step <= 5; ++step) writer.write(step, {{"reward", 0.1 * step}, {"kl", kNaN}, {"rewards/math/mean", 1}});
    writer.sync();
  }
  auto lines = records(file);
  REQUIRE(lines.size() == 5);
  CHECK(lines[0]["step"] == 1);
  CHECK(lines[0]["reward"] == 0.1);
  CHECK(lines[0]["kl"].is_null());
  CHECK(lines[0]["time"].get<double>() > 1.6e9);
  File(file, File::Mode::kAppend).write("{\"step\":6,\"rew");  // cut off by a crash
  {
    MetricsWriter writer({file, {}, 3});
    writer.write(4, {{"reward", 9}});
  }
  lines = records(file);
  REQUIRE(lines.size() == 4);
  CHECK(lines[2]["step"] == 3);
  CHECK(lines[3]["reward"] == 9);
  { MetricsWriter writer({file, {}, std::nullopt}); }
  CHECK(records(file).empty());
}

TEST_CASE("cutting keeps the old file if it cannot be rewritten; foreign lines are errors") {
  const test::TempDir dir;
  const fs::path file = dir / "m.jsonl";
  write_file_atomic(file, "{\"step\":1}\n{\"step\":2}\n");
  set_file_fault_hook([](FileOp op, const fs::path&) { return op == FileOp::kWrite ? ENOSPC : 0; });
  CHECK_THROWS_AS(cut_records_after(file, 1), IoError);
  set_file_fault_hook({});
  CHECK(records(file).size() == 2);
  CHECK(cut_records_after(file, 1) == 1);
  CHECK(cut_records_after(file, 1) == 0);
  CHECK(cut_records_after(dir / "absent", 1) == 0);
  write_file_atomic(file, "{\"step\":1}\nnonsense\n");
  CHECK_THROWS_WITH_AS(cut_records_after(file, 1), doctest::Contains("m.jsonl:2: not a record"), DataError);
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    out += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    out += "0123456789abcdef"[c & 15];
  }
  return out;
}

// Bytes of tensorboard 2.x's own RecordWriter and protobuf for the same events (tests/golden/tensorboard_bytes.py).
TEST_CASE("event records, byte for byte") {
  CHECK(hex(tfrecord(tensorboard::version_event(1.5))) == "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c");
  CHECK(hex(tfrecord(tensorboard::start_event(2.5, 7))) == "0f000000000000006d532b0909000000000000044010073a0208019aaf83ce");
  CHECK(hex(tfrecord(tensorboard::scalars_event(3.5, 300, {{"reward", 0.25}, {"kl", -1.0}}))) == "2800000000000000ff70164a090000000000000c4010ac022a1a0a0d0a06726577617264150000803e0a090a026b6c15000080bfa78064cb");
  CHECK(hex(tfrecord(tensorboard::text_event(4.5, 2, "sample", "hi **é**"))) == "36000000000000004f578cef09000000000000124010022a290a270a0673616d706c654213080712041202080142096869202a2ac3a92a2a4a080a060a0474657874f48f5d65");
}

TEST_CASE("a new event file sorts behind all older ones") {
  const test::TempDir dir;
  const TensorBoardWriter first(dir.path(), std::nullopt);
  const TensorBoardWriter second(dir.path(), 5);
  const TensorBoardWriter third(dir.path(), 9);
  CHECK(first.path().filename() < second.path().filename());
  CHECK(second.path().filename() < third.path().filename());
  { MetricsWriter writer({{}, dir.path(), std::nullopt}); }
  CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()) == 1);
}

}  // namespace
}  // namespace r1
