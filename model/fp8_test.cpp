// FP8 checkpoints: every e4m3 value, blocks at the edges, and a directory that is read as the bfloat16 model it stands for.
#include "model/fp8.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "model/element_convert.h"
#include "model/hf_directory.h"
#include "tests/support/support.h"

using namespace r1;

namespace {

namespace fs = std::filesystem;

struct Fp8Model {
  test::TempDir dir;
  std::vector<std::vector<std::byte>> memory;
  std::vector<TensorView> tensors;
  std::map<std::string, std::vector<float>> expected;  // by parameter

  // tiny-v3 with e4m3 matrices in blocks of 16 x 8 wherever the released model has them.
  Fp8Model() {
    std::string json = read_file(fs::path(R1_SOURCE_DIR) / "tests/golden/model/tiny-v3/config.json");
    json.insert(1, R"("quantization_config":{"activation_scheme":"dynamic","fmt":"e4m3","quant_method":"fp8","weight_block_size":[16,8]},)");
    write_file_atomic(dir / "config.json", json);
    const ModelDirectory source(fs::path(R1_SOURCE_DIR) / "tests/golden/model/tiny-v3");
    StreamRng rng(3, 0);
    for (const TensorView& t : source.snapshot().tensors) {
      const bool quantised = t.shape.size() == 2 && t.name.find("embed") == std::string::npos && t.name.find("lm_head") == std::string::npos &&
                             t.name.find("mlp.gate.") == std::string::npos;
      std::vector<float>& want = expected[t.name];
      if (!quantised) {
        memory.emplace_back(t.data, t.data + t.bytes());
        want.resize(static_cast<std::size_t>(t.elements()));
        convert_elements(t.dtype, t.data, DType::kF32, want.data(), want.size());
        tensors.push_back({t.name, t.dtype, t.shape, memory.back().data(), -1});
        continue;
      }
      const std::int64_t rows = t.shape[0], columns = t.shape[1], across = (columns + 7) / 8, down = (rows + 15) / 16;
      std::vector<float> scales;
      for (std::int64_t i = 0; i < across * down; ++i) scales.push_back(static_cast<float>(1 + rng.below(1000)) / 4096.f);
      std::vector<std::byte> bytes;
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c) {
          const auto bits = static_cast<std::uint8_t>(rng.below(0x7F) | (rng.below(2) << 7));
          bytes.push_back(static_cast<std::byte>(bits));
          want.push_back(bf16_to_float(float_to_bf16(f8e4m3_to_float(bits) * scales[static_cast<std::size_t>(r / 16 * across + c / 8)])));
        }
      memory.push_back(std::move(bytes));
      tensors.push_back({t.name, DType::kF8E4M3, t.shape, memory.back().data(), -1});
      std::vector<std::byte> raw(scales.size() * 4);
      std::memcpy(raw.data(), scales.data(), raw.size());
      memory.push_back(std::move(raw));
      tensors.push_back({t.name + "_scale_inv", DType::kF32, {down, across}, memory.back().data(), -1});
    }
  }
  void write(const std::vector<TensorView>& list) { write_safetensors(dir / "model.safetensors", list); }
};

}  // namespace

TEST_CASE("e4m3: 448 is the largest, 2^-9 the smallest, no infinity, two NaN; all in order") {
  CHECK(f8e4m3_to_float(0x7E) == 448.f);
  CHECK(f8e4m3_to_float(0xFE) == -448.f);
  CHECK(f8e4m3_to_float(0x01) == std::ldexp(1.f, -9));
  CHECK(f8e4m3_to_float(0x08) == std::ldexp(1.f, -6));
  CHECK(f8e4m3_to_float(0x38) == 1.f);
  CHECK(f8e4m3_to_float(0x39) == 1.125f);
  CHECK(std::isnan(f8e4m3_to_float(0x7F)));
  CHECK(std::isnan(f8e4m3_to_float(0xFF)));
  CHECK(std::signbit(f8e4m3_to_float(0x80)));
  for (int i = 0; i < 0x7E; ++i) CHECK(f8e4m3_to_float(static_cast<std::uint8_t>(i)) < f8e4m3_to_float(static_cast<std::uint8_t>(i + 1)));
}

TEST_CASE("an FP8 directory is the bfloat16 model that its blocks and scales stand for, and is saved as that") {
  Fp8Model m;
  m.write(m.tensors);
  const ModelDirectory directory(m.dir.path());
  REQUIRE(directory.config().fp8);
  std::size_t quantised = 0;
  for (const TensorView& t : directory.snapshot().tensors) {
    CAPTURE(t.name);
    std::vector<float> got(static_cast<std::size_t>(t.elements()));
    convert_elements(t.dtype, t.data, DType::kF32, got.data(), got.size());
    CHECK(got == m.expected.at(t.name));
    quantised += t.dtype == DType::kBF16;
  }
  CHECK(quantised > 50);
  const test::TempDir out;
  SaveModelOptions save;
  save.dtype = DType::kBF16;
  save_model_directory(out / "copy", directory.config(), directory.snapshot().tensors, save);
  const ModelDirectory copy(out / "copy");
  CHECK_FALSE(copy.config().fp8);
  for (const TensorView& t : copy.snapshot().tensors)
    CHECK(t.dtype == (t.name.ends_with("e_score_correction_bias") ? DType::kF32 : DType::kBF16));  // its steps are below a bfloat16's
}

TEST_CASE("FP8: a missing scale, a scale of another shape, and e4m3 without quantization_config are refused by name") {
  const auto refusal = [](Fp8Model& m, const std::vector<TensorView>& list) -> std::string {
    m.write(list);
    try {
      const ModelDirectory directory(m.dir.path());
    } catch (const CheckpointError& e) {
      return e.what();
    }
    FAIL("not refused");
    return {};
  };
  Fp8Model m;
  std::vector<TensorView> list = m.tensors;
  const auto scale = std::find_if(list.begin(), list.end(), [](const TensorView& t) { return t.name.ends_with("_scale_inv"); });
  const std::string name = scale->name;
  list.erase(scale);
  CHECK(refusal(m, list).find(name + " is missing") != std::string::npos);
  list = m.tensors;
  const auto other = std::find_if(list.begin(), list.end(), [&](const TensorView& t) { return t.name == name; });
  std::swap(other->shape[0], other->shape[1]);
  CHECK(refusal(m, list).find(name + " has shape") != std::string::npos);
  write_file_atomic(m.dir / "config.json", read_file(fs::path(R1_SOURCE_DIR) / "tests/golden/model/tiny-v3/config.json"));
  const std::string unasked = refusal(m, m.tensors);  // the weight's type or its scale, whichever comes first
  CHECK((unasked.find("F8_E4M3") != std::string::npos || unasked.find("_scale_inv is not part") != std::string::npos));
}
