#include "model/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <tuple>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "model/mapped_file.h"

namespace r1 {
namespace {

using nlohmann::json;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the format's own limit

std::optional<DType> dtype_of(const std::string& name) {
  for (const DType t : {DType::kF32, DType::kF16, DType::kBF16, DType::kI64, DType::kI32, DType::kI16, DType::kI8,
                        DType::kU8, DType::kBool, DType::kF64, DType::kF8E4M3})
    if (name == safetensors_name(t)) return t;
  return std::nullopt;
}

// nlohmann keeps the last of two equal keys; here a second one is a broken file.
json parse_header(const std::string& file, std::string_view text) {
  std::set<std::string, std::less<>> names;
  std::string twice;
  const auto callback = [&](int depth, json::parse_event_t event, json& value) {
    if (depth == 1 && event == json::parse_event_t::key && !names.insert(value.get<std::string>()).second)
      twice = value.get<std::string>();
    return true;
  };
  json header;
  try {
    header = json::parse(text, callback);
  } catch (const json::exception& e) {
    throw CheckpointError(message(file, ": the header is not valid JSON (", e.what(), "); the file is damaged"));
  }
  if (!header.is_object()) throw CheckpointError(message(file, ": the header is not a JSON object; the file is damaged"));
  if (!twice.empty()) throw CheckpointError(message(file, ": tensor ", twice, " is there twice"));
  return header;
}

struct Range {
  std::uint64_t begin = 0, end = 0;
};

// Fills type and shape; gives the byte range in the data part.
Range read_entry(const std::string& file, const std::string& name, const json& entry, TensorView& out) {
  const auto fail = [&](const std::string& why) -> CheckpointError {
    return CheckpointError(message(file, ": tensor ", name, ": ", why));
  };
  if (!entry.is_object()) throw fail("its header entry is not an object");
  const json type = entry.value("dtype", json()), shape = entry.value("shape", json()), offsets = entry.value("data_offsets", json());
  const auto dtype = type.is_string() ? dtype_of(type.get<std::string>()) : std::nullopt;
  if (!dtype)
    throw fail(message("dtype ", type.dump(), " is not supported (F64, F32, F16, BF16, F8_E4M3, I64, I32, I16, I8, U8, BOOL are)"));
  if (!shape.is_array()) throw fail("shape is not a list");
  std::uint64_t bytes = size_of(*dtype);
  for (const json& size : shape) {
    if (!size.is_number_unsigned()) throw fail(message("shape ", shape.dump(), " is not a list of sizes"));
    if (__builtin_mul_overflow(bytes, size.get<std::uint64_t>(), &bytes) || bytes > std::uint64_t{1} << 62)
      throw fail(message("shape ", shape.dump(), " is too large"));
    out.shape.push_back(size.get<std::int64_t>());
  }
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    throw fail("data_offsets is not a pair of byte positions");
  const Range range{offsets[0].get<std::uint64_t>(), offsets[1].get<std::uint64_t>()};
  if (range.begin > range.end || range.end - range.begin != bytes)
    throw fail(message("data_offsets ", offsets.dump(), " span ", static_cast<std::int64_t>(range.end - range.begin),
                       " bytes, but ", type.get<std::string>(), " ", shape.dump(), " takes ", bytes));
  out.name = name;
  out.dtype = *dtype;
  return range;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path) {
  const auto file = MappedFile::open(path);
  const std::string name = path.string();
  if (file->size() < 8)
    throw CheckpointError(message(name, ": not a safetensors file: at least 8 bytes expected, ", file->size(), " found"));
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file->data(), 8);
  if (header_bytes > kMaxHeader)
    throw CheckpointError(message(name, ": not a safetensors file: a header of ", header_bytes, " bytes, the limit is ", kMaxHeader));
  if (header_bytes > file->size() - 8)
    throw CheckpointError(message(name, ": the file is cut off: its header ends at byte ", header_bytes + 8, ", the file has ",
                                  file->size(), "; copy it again"));
  const json header = parse_header(name, {reinterpret_cast<const char*>(file->data()) + 8, header_bytes});

  struct Placed {
    Range range;
    TensorView view;
  };
  std::vector<Placed> placed;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") {
      if (!entry.is_object()) throw CheckpointError(message(name, ": __metadata__ is not an object"));
      for (const auto& [k, v] : entry.items()) metadata_[k] = v.is_string() ? v.get<std::string>() : v.dump();
      continue;
    }
    Placed p;
    p.range = read_entry(name, key, entry, p.view);
    placed.push_back(std::move(p));
  }
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::tie(a.range.begin, a.range.end, a.view.name) < std::tie(b.range.begin, b.range.end, b.view.name);
  });
  std::uint64_t next = 0;
  for (const Placed& p : placed) {
    if (p.range.begin != next)
      throw CheckpointError(message(name, ": tensor ", p.view.name, " starts at data byte ", p.range.begin, ", ", next,
                                    " expected: ", p.range.begin < next ? "tensors overlap" : "there is a hole"));
    next = p.range.end;
  }
  const std::uint64_t start = 8 + header_bytes;
  if (file->size() - start != next)
    throw CheckpointError(message(name, file->size() - start < next ? ": the file is cut off: " : ": the file is too long: ",
                                  start + next, " bytes expected, ", file->size(), " found; copy it again"));
  for (Placed& p : placed) {
    p.view.data = file->data() + start + p.range.begin;
    tensors_.push_back(std::move(p.view));
  }
  owner_ = file;
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  for (const TensorView& t : tensors_)
    if (t.name == name) return &t;
  return nullptr;
}

const TensorView& SafetensorsFile::at(std::string_view name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  throw CheckpointError(message(path_.string(), ": tensor ", name, " is missing (", tensors_.size(), " tensors are there)"));
}

SafetensorsSet SafetensorsSet::open(const std::filesystem::path& dir) {
  SafetensorsSet set;
  const std::filesystem::path index_path = dir / "model.safetensors.index.json", single = dir / "model.safetensors";
  if (!path_exists(index_path)) {
    if (!path_exists(single))
      throw CheckpointError(message(dir.string(), ": no weights: neither model.safetensors nor model.safetensors.index.json "
                                    "is there (PyTorch .bin files are not read; convert them to safetensors)"));
    set.files.emplace_back(single);
    return set;
  }
  const std::string index_name = index_path.string();
  json index;
  try {
    index = json::parse(read_file(index_path));
  } catch (const json::exception& e) {
    throw CheckpointError(message(index_name, ": not valid JSON (", e.what(), ")"));
  }
  const json map = index.is_object() ? index.value("weight_map", json()) : json();
  if (!map.is_object() || map.empty()) throw CheckpointError(message(index_name, ": weight_map is missing or empty"));
  std::map<std::string, std::set<std::string>> shards;
  for (const auto& [tensor, shard] : map.items()) {
    // A shard lies beside its index: no path may lead out of the folder.
    if (!shard.is_string() || std::filesystem::path(shard.get<std::string>()).filename() != shard.get<std::string>())
      throw CheckpointError(message(index_name, ": tensor ", tensor, ": ", shard.dump(), " is not a file name"));
    shards[shard.get<std::string>()].insert(tensor);
  }
  for (const auto& [shard, names] : shards) {
    if (!path_exists(dir / shard))
      throw CheckpointError(message(index_name, ": shard ", shard, " with ", names.size(), " tensors is missing in ", dir.string()));
    SafetensorsFile& file = set.files.emplace_back(dir / shard);
    for (const std::string& name : names)
      if (file.find(name) == nullptr)
        throw CheckpointError(message(file.path().string(), ": tensor ", name, " is missing, though the index says it is here"));
    for (const TensorView& tensor : file.tensors())
      if (!names.contains(tensor.name))
        throw CheckpointError(message(file.path().string(), ": tensor ", tensor.name, " is here, but not by the index ", index_name));
  }
  return set;
}

}  // namespace r1
