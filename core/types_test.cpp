#include "core/types.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/json_text.h"
#include "core/weights.h"

namespace r1 {
namespace {

TEST_CASE("names of stop reasons, verdicts and data types") {
  CHECK(to_string(StopReason::kEos) == std::string("eos"));
  CHECK(to_string(StopReason::kStop) == std::string("stop"));
  CHECK(to_string(StopReason::kLength) == std::string("length"));
  CHECK(to_string(StopReason::kAborted) == std::string("aborted"));
  CHECK(to_string(Verdict::kCorrect) == std::string("ok"));
  CHECK(to_string(Verdict::kUnparsed) == std::string("unparsed"));
  CHECK(to_string(Verdict::kAbstain) == std::string("abstain"));
  CHECK(size_of(DType::kF64) == 8);
  CHECK(size_of(DType::kF32) == 4);
  CHECK(size_of(DType::kBF16) == 2);
  CHECK(size_of(DType::kF8E4M3) == 1);
  CHECK(safetensors_name(DType::kBF16) == std::string("BF16"));
  CHECK(safetensors_name(DType::kBool) == std::string("BOOL"));
  CHECK(TensorView{"x", DType::kBF16, {3, 4}, nullptr, -1}.bytes() == 24);
  CHECK_THROWS_AS(size_of(static_cast<DType>(99)), Error);
}

TEST_CASE("a failed check names condition, place and values, without the build machine's path") {
  try {
    R1_CHECK(1 + 1 == 3, "two is ", 2);
    FAIL("no error");
  } catch (const Error& e) {
    const std::string text = e.what();
    CHECK(text.find("two is 2 [bug in r1, please report: core/types_test.cpp:") == 0);
    CHECK(text.find("check failed: 1 + 1 == 3]") != std::string::npos);
  }
}

TEST_CASE("with_context keeps the class and nests") {
  const auto nested = [] { with_context("step 12", [] { with_context("shard 3", []() -> int { throw DataError("bad row"); }); }); };
  CHECK_THROWS_WITH_AS(nested(), "step 12: shard 3: bad row", DataError);
  CHECK(with_context("x", [] { return 5; }) == 5);
}

TEST_CASE("JSON text: escapes, UTF-8 repair, numbers that read back exactly") {
  CHECK(json_quote("a\"\\\n\x01") == "\"a\\\"\\\\\\n\\u0001\"");
  CHECK(json_quote("é漢😀") == "\"é漢😀\"");
  CHECK(json_quote("\xc0\x80") == "\"\xef\xbf\xbd\xef\xbf\xbd\"");          // overlong
  CHECK(json_quote("\xed\xa0\x80").size() == 2 + 9);                          // surrogate
  CHECK(json_quote("\xf4\x90\x80\x80").size() == 2 + 12);                     // over U+10FFFF
  CHECK(json_quote("\xe6\xbc") == "\"\xef\xbf\xbd\xef\xbf\xbd\"");          // cut off
  CHECK(json_number(0.1) == "0.1");
  CHECK(json_number(0.1f) == "0.1");
  CHECK(json_number(1e300 * 1e300) == "null");
  CHECK(json_number(5.0) == "5");
}

}  // namespace
}  // namespace r1
