#include "model/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>
#include <numeric>

#include "core/error.h"
#include "core/files.h"
#include "model/element_convert.h"
#include "model/gguf_test_writer.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

using namespace r1;

namespace {

const std::vector<float> kNumbers = [] {
  std::vector<float> v(64);
  std::iota(v.begin(), v.end(), 0.25f);
  return v;
}();

TensorView floats(const std::string& name, std::vector<std::int64_t> shape, std::size_t from = 0) {
  return {name, DType::kF32, std::move(shape), reinterpret_cast<const std::byte*>(kNumbers.data() + from), -1};
}

// A file from a header text and so many data bytes.
std::filesystem::path make(const std::filesystem::path& path, const std::string& header, std::size_t data_bytes,
                           std::optional<std::uint64_t> length = std::nullopt) {
  const std::uint64_t n = length.value_or(header.size());
  std::string content(reinterpret_cast<const char*>(&n), 8);
  content += header + std::string(data_bytes, '\1');
  test::write_plain(path, content);
  return path;
}

std::string refusal(const std::filesystem::path& path) {
  try {
    const SafetensorsFile file(path);
  } catch (const CheckpointError& e) {
    return e.what();
  }
  return "accepted";
}

using test::contains;

}  // namespace

TEST_CASE("what is written is read back, and the same tensors give the same bytes") {
  const test::TempDir dir;
  const std::int64_t ids[3] = {7, -1, 1 << 20};
  const std::vector<TensorView> tensors = {floats("b", {2, 3}), floats("a.weight", {4}, 6), floats("scalar", {}, 10), floats("none", {0, 5}),
                                           {"ids", DType::kI64, {3}, reinterpret_cast<const std::byte*>(ids), -1}};
  write_safetensors(dir / "x.safetensors", tensors);
  write_safetensors(dir / "y.safetensors", tensors);
  CHECK(read_file(dir / "x.safetensors") == read_file(dir / "y.safetensors"));
  const SafetensorsFile file(dir / "x.safetensors");
  CHECK(file.metadata().at("format") == "pt");
  CHECK(file.tensors().size() == 5);
  CHECK(file.tensors().front().name == "ids");  // the widest elements first
  CHECK(file.at("b").shape == std::vector<std::int64_t>{2, 3});
  CHECK(std::memcmp(file.at("b").data, kNumbers.data(), 24) == 0);
  CHECK(std::memcmp(file.at("ids").data, ids, 24) == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(file.at("ids").data) % 8 == 0);
  CHECK(file.at("scalar").elements() == 1);
  CHECK(file.at("none").elements() == 0);
  CHECK(file.find("c") == nullptr);
  CHECK_THROWS_AS(file.at("c"), CheckpointError);
}

TEST_CASE("float tensors are converted on request, integers are not") {
  const test::TempDir dir;
  const std::int32_t id = 5;
  SafetensorsWriteOptions options;
  options.float_type = DType::kBF16;
  const std::vector<TensorView> tensors = {floats("w", {60}), {"id", DType::kI32, {1}, reinterpret_cast<const std::byte*>(&id), -1}};
  write_safetensors(dir / "x.safetensors", tensors, options);
  const SafetensorsFile file(dir / "x.safetensors");
  CHECK(file.at("w").dtype == DType::kBF16);
  CHECK(file.at("id").dtype == DType::kI32);
  std::uint16_t bits[60];
  std::memcpy(bits, file.at("w").data, sizeof bits);
  for (std::size_t i = 0; i < 60; ++i) CHECK(bits[i] == float_to_bf16(kNumbers[i]));
}

TEST_CASE("a file cut off at any byte is refused, naming expected and found") {
  const test::TempDir dir;
  const std::vector<TensorView> tensors = {floats("a", {5}), floats("b", {3, 2}, 5)};
  write_safetensors(dir / "whole", tensors);
  const std::string whole = read_file(dir / "whole");
  for (std::size_t n = 0; n < whole.size(); ++n) {
    test::write_plain(dir / "torn", whole.substr(0, n));
    const std::string text = refusal(dir / "torn");
    if (!contains(text, (dir / "torn").string()) || !contains(text, std::to_string(n))) FAIL("cut at " << n << ": " << text);
  }
  write_file_atomic(dir / "long", whole + "x");
  CHECK(contains(refusal(dir / "long"), "too long"));
  write_file_atomic(dir / "same", whole);
  CHECK(refusal(dir / "same") == "accepted");
}

TEST_CASE("broken headers are refused with the cause") {
  const test::TempDir dir;
  const auto p = dir / "x";
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{\"w\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
  };
  CHECK(refusal(make(p, one("\"F32\"", "[2]", "[0,8]"), 8)) == "accepted");
  CHECK(contains(refusal(make(p, one("\"F33\"", "[2]", "[0,8]"), 8)), "tensor w: dtype \"F33\" is not supported (F64, F32"));
  CHECK(contains(refusal(make(p, one("3", "[2]", "[0,8]"), 8)), "dtype 3"));
  CHECK(contains(refusal(make(p, one("\"F32\"", "[-2]", "[0,8]"), 8)), "shape"));
  CHECK(contains(refusal(make(p, one("\"F32\"", "2", "[0,8]"), 8)), "shape"));
  CHECK(contains(refusal(make(p, one("\"F32\"", "[4294967296,4294967296,16]", "[0,8]"), 8)), "too large"));
  CHECK(contains(refusal(make(p, one("\"F32\"", "[2]", "[0,4]"), 8)), "span 4 bytes, but F32 [2] takes 8"));
  CHECK(contains(refusal(make(p, one("\"F32\"", "[2]", "[8,0]"), 8)), "data_offsets"));
  CHECK(contains(refusal(make(p, one("\"F32\"", "[2]", "[0]"), 8)), "data_offsets"));
  CHECK(contains(refusal(make(p, one("\"F32\"", "[2]", "[4,12]"), 12)), "there is a hole"));
  CHECK(contains(refusal(make(p, "{\"a\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                                 "\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6)), "tensors overlap"));
  CHECK(contains(refusal(make(p, "{\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                 "\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1)), "tensor a is there twice"));
  CHECK(contains(refusal(make(p, "{\"w\":", 0)), "not valid JSON"));
  CHECK(contains(refusal(make(p, "[1]", 0)), "not a JSON object"));
  CHECK(contains(refusal(make(p, "{}", 0, 200'000'000)), "a header of 200000000 bytes, the limit is 100000000"));
  CHECK(contains(refusal(make(p, "{}", 0, ~std::uint64_t{0})), "the limit is"));
  CHECK(contains(refusal(make(p, "{}", 0, 90)), "cut off"));
  CHECK(contains(refusal(dir / "nowhere"), "nowhere"));
  CHECK(contains(refusal(dir.path()), "not a regular file"));
}

TEST_CASE("shards: split by size, found through the index") {
  const test::TempDir dir;
  const std::vector<TensorView> tensors = {floats("a", {10}), floats("b", {10}, 10), floats("c", {30}, 20), floats("d", {2}, 50)};
  const std::vector<std::string> files = write_safetensors_set(dir.path(), tensors, {}, 80);
  CHECK(files == std::vector<std::string>{"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                          "model-00003-of-00003.safetensors", "model.safetensors.index.json"});
  const SafetensorsSet set = SafetensorsSet::open(dir.path());
  CHECK(set.files.size() == 3);
  CHECK(set.files[0].tensors().size() == 2);
  CHECK(set.files[1].at("c").elements() == 30);
  CHECK(contains(read_file(dir / "model.safetensors.index.json"), "\"total_size\": 208"));

  const auto broken = [&](const std::string& part) {
    try {
      SafetensorsSet::open(dir.path());
    } catch (const CheckpointError& e) {
      CHECK(contains(e.what(), part));
      return;
    }
    FAIL("accepted; expected: " << part);
  };
  const std::string index = read_file(dir / "model.safetensors.index.json");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = index;
    changed.replace(changed.find(from), from.size(), to);
    write_file_atomic(dir / "model.safetensors.index.json", changed);
  };
  with("\"d\": \"model-00003-of", "\"d\": \"../model-00003-of");
  broken("is not a file name");
  with("\"d\"", "\"e\"");
  broken("tensor e is missing, though the index says it is here");
  with("\"a\": \"model-00001-of", "\"a\": \"model-00003-of");
  broken("tensor a is");
  with("weight_map", "weight_maps");
  broken("weight_map is missing");
  write_file_atomic(dir / "model.safetensors.index.json", index.substr(0, 50));
  broken("not valid JSON");
  write_file_atomic(dir / "model.safetensors.index.json", index);
  CHECK_NOTHROW(SafetensorsSet::open(dir.path()));
  std::filesystem::remove(dir / "model-00002-of-00003.safetensors");
  broken("shard model-00002-of-00003.safetensors with 1 tensors is missing");
  const test::TempDir empty;
  CHECK_THROWS_AS(SafetensorsSet::open(empty.path()), CheckpointError);
}

TEST_CASE("writing refuses what cannot be written") {
  const test::TempDir dir;
  CHECK_THROWS_AS(write_safetensors(dir / "x", std::vector{floats("a", {1}), floats("a", {1})}), CheckpointError);
  TensorView device = floats("a", {1});
  device.device = 0;
  CHECK_THROWS_AS(write_safetensors(dir / "x", std::vector{device}), CheckpointError);
  CHECK_FALSE(std::filesystem::exists(dir / "x"));
}

TEST_CASE("a full disk leaves no file") {
  const test::TempDir dir;
  for (const FileOp failing : {FileOp::kCreate, FileOp::kWrite, FileOp::kSync, FileOp::kRename}) {
    set_file_fault_hook([failing](FileOp op, const std::filesystem::path&) { return op == failing ? ENOSPC : 0; });
    CHECK_THROWS_AS(write_safetensors(dir / "x", std::vector{floats("a", {60})}), IoError);
    set_file_fault_hook({});
    CHECK(std::filesystem::is_empty(dir.path()));
  }
}
