// The real TensorBoard opens what we write. Needs R1_GOLDEN_PYTHON, a Python with the package `tensorboard`.
#include <cstdlib>
#include <limits>
#include <string>

#include <doctest/doctest.h>

#include "core/metrics.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

TEST_CASE("TensorBoard's EventAccumulator reads scalars, texts and the cut of a resumed run") {
  const char* python = std::getenv("R1_GOLDEN_PYTHON");
  if (python == nullptr || std::system((std::string(python) + " -c 'import tensorboard' 2>/dev/null").c_str()) != 0) {
    test::skip("R1_GOLDEN_PYTHON names no Python with tensorboard");
    return;
  }
  const test::TempDir dir;
  {
    MetricsWriter writer({{}, dir.path(), std::nullopt});
    for (int step = 1; step <= 6; ++step) writer.write(step, {{"reward", 0.125 * step}, {"kl", std::numeric_limits<double>::quiet_NaN()}});
    writer.write_text(2, "sample", "**37 + 45** = 82 é");
  }
  {
    MetricsWriter writer({{}, dir.path(), 4});
    for (int step = 5; step <= 7; ++step) writer.write(step, {{"reward", 100.0 + step}});
  }
  const std::string script = std::string(R1_SOURCE_DIR) + "/tests/golden/read_tensorboard.py";
  const int status = std::system((std::string(python) + " " + script + " " + dir.path().string() + " > " + (dir / "out").string()).c_str());
  CHECK(status == 0);
  CHECK(read_file(dir / "out") ==
        "reward 1:0.125 2:0.25 3:0.375 4:0.5 5:105.0 6:106.0 7:107.0\n"
        "kl 1:nan 2:nan 3:nan 4:nan\n"
        "sample 2:**37 + 45** = 82 é\n");
}

}  // namespace
}  // namespace r1
