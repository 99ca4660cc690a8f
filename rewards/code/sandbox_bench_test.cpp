#include "rewards/code/sandbox_bench.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/code/box_test_support.h"

namespace r1::code {
namespace {

TEST_CASE("the sandbox benchmark measures every way that this host has") {
  if (test::absent()) return;
  const auto result = nlohmann::json::parse(measure_sandbox(3));
  CHECK(result["runs"] == 3);
  double spawn = 0, box = 0;
  for (const auto& c : result["cases"]) {
    CAPTURE(c["name"]);
    CHECK(c["ms_median"] > 0.0);
    CHECK(c["ms_p95"] >= c["ms_median"]);
    CHECK(c["runs_per_s"].get<double>() == doctest::Approx(1000.0 / c["ms_mean"].get<double>()));
    if (c["name"] == "spawn") spawn = c["ms_median"];
    if (c["name"] == "box") box = c["ms_median"];
  }
  CHECK(spawn > 0);
  CHECK(result["overhead_ms"].get<double>() == doctest::Approx(box - spawn));
  CHECK(result["cases"].size() + 2 * result["absent"].size() >= 5);
  CHECK_THROWS_AS((void)measure_sandbox(2), Error);
}

}  // namespace
}  // namespace r1::code
