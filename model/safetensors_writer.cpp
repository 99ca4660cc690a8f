#include <algorithm>
#include <cstdio>
#include <set>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "model/element_convert.h"
#include "model/safetensors.h"

namespace r1 {
namespace {

DType written_type(const TensorView& tensor, const SafetensorsWriteOptions& options) {
  return options.float_type && is_float_type(tensor.dtype) && !options.keep_type.contains(tensor.name) ? *options.float_type : tensor.dtype;
}

std::uint64_t written_bytes(const TensorView& tensor, const SafetensorsWriteOptions& options) {
  return static_cast<std::uint64_t>(tensor.elements()) * size_of(written_type(tensor, options));
}

void write_data(AtomicFile& file, const TensorView& tensor, DType type) {
  constexpr std::int64_t kPiece = 1 << 20;
  if (type == tensor.dtype) {
    file.write({reinterpret_cast<const char*>(tensor.data), tensor.bytes()});
    return;
  }
  std::string piece;
  for (std::int64_t begin = 0; begin < tensor.elements(); begin += kPiece) {
    const auto n = static_cast<std::size_t>(std::min(kPiece, tensor.elements() - begin));
    piece.resize(n * size_of(type));
    convert_elements(tensor.dtype, tensor.data + static_cast<std::size_t>(begin) * size_of(tensor.dtype), type, piece.data(), n);
    file.write(piece);
  }
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const SafetensorsWriteOptions& options) {
  std::vector<const TensorView*> order;
  for (const TensorView& tensor : tensors) order.push_back(&tensor);
  // Larger elements first keeps every tensor aligned to its element size.
  std::stable_sort(order.begin(), order.end(), [&](const TensorView* a, const TensorView* b) {
    return size_of(written_type(*a, options)) > size_of(written_type(*b, options));
  });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!options.metadata.empty()) header["__metadata__"] = options.metadata;
  std::uint64_t offset = 0;
  std::set<std::string_view> names;
  for (const TensorView* tensor : order) {
    if (!options.materialise && (tensor->device != -1 || (tensor->data == nullptr && tensor->elements() > 0)))
      throw CheckpointError(message("tensor ", tensor->name, " is not in host memory; copy it there before saving"));
    if (!names.insert(tensor->name).second || tensor->name == "__metadata__")
      throw CheckpointError(message(path.string(), ": tensor name ", tensor->name, " is used twice or reserved"));
    const std::uint64_t end = offset + written_bytes(*tensor, options);
    header[tensor->name] = {{"dtype", safetensors_name(written_type(*tensor, options))},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();

  AtomicFile file(path);
  file.write({reinterpret_cast<const char*>(&length), 8});
  file.write(text);
  for (const TensorView* tensor : order) {
    const DType type = written_type(*tensor, options);
    if (options.materialise) {
      const TensorView data = options.materialise(*tensor);
      R1_CHECK(data.shape == tensor->shape && written_type(data, options) == type, "tensor ", tensor->name, " changed its form");
      write_data(file, data, type);
    } else {
      write_data(file, *tensor, type);
    }
  }
  file.commit();
}

std::vector<std::string> write_safetensors_set(const std::filesystem::path& dir, std::span<const TensorView> tensors,
                                               const SafetensorsWriteOptions& options, std::uint64_t shard_bytes) {
  std::vector<std::vector<TensorView>> shards(1);
  std::uint64_t in_shard = 0, total = 0;
  for (const TensorView& tensor : tensors) {
    const std::uint64_t bytes = written_bytes(tensor, options);
    if (!shards.back().empty() && in_shard + bytes > shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().push_back(tensor);
    in_shard += bytes;
    total += bytes;
  }
  if (shards.size() == 1) {
    write_safetensors(dir / "model.safetensors", tensors, options);
    return {"model.safetensors"};
  }
  std::vector<std::string> files;
  nlohmann::ordered_json map = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < shards.size(); ++i) {
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
    write_safetensors(dir / name, shards[i], options);
    for (const TensorView& tensor : shards[i]) map[tensor.name] = name;
    files.emplace_back(name);
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  write_file_atomic(dir / "model.safetensors.index.json", index.dump(2) + "\n");
  files.emplace_back("model.safetensors.index.json");
  return files;
}

}  // namespace r1
