#include "model/hf_directory.h"

#include <cstring>
#include <fstream>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "model/element_convert.h"
#include "model/fp8.h"
#include "model/gguf_model.h"
#include "model/mapped_file.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Buffers that old files carry and that follow from the config.
bool is_ignored(const std::string& name) { return name.ends_with("rotary_emb.inv_freq"); }

constexpr std::string_view kScale = "_scale_inv";

// Released multi-token prediction layers repeat the model's embedding and head.
bool is_repeated(const ModelConfig& config, const std::string& name) {
  for (std::int64_t i = 0; i < config.num_mtp_layers; ++i)
    for (const char* part : {"embed_tokens.weight", "shared_head.head.weight"})
      if (name == message("model.layers.", config.num_hidden_layers + i, ".", part)) return true;
  return false;
}

// `fp8`: the model's weights may be e4m3.
void check(const TensorView& tensor, const Parameter& parameter, const fs::path& file, bool fp8) {
  if (tensor.shape != parameter.shape)
    throw CheckpointError(message(file.string(), ": tensor ", tensor.name, " has shape ", shape_text(tensor.shape),
                                  ", config.json asks for ", shape_text(parameter.shape)));
  if (fp8 && tensor.dtype == DType::kF8E4M3) return;
  if (!is_float_type(tensor.dtype))
    throw CheckpointError(message(file.string(), ": tensor ", tensor.name, " has type ", safetensors_name(tensor.dtype),
                                  "; supported are F32, F16 and BF16"));
}

// The bfloat16 form of an e4m3 weight; `owners` keeps its memory.
TensorView dequantised(const TensorView& weight, const TensorView* scale, const BlockScales& block, const std::string& where,
                       std::vector<std::shared_ptr<const void>>& owners) {
  if (scale == nullptr) throw CheckpointError(message(where, ": tensor ", weight.name, kScale, " is missing; ", weight.name, " is FP8"));
  const std::int64_t rows = weight.shape.at(0), columns = weight.shape.size() == 2 ? weight.shape[1] : 1;
  const std::vector<std::int64_t> wanted = {(rows + block.rows - 1) / block.rows, (columns + block.columns - 1) / block.columns};
  if (scale->shape != wanted || scale->dtype != DType::kF32)
    throw CheckpointError(message(where, ": tensor ", scale->name, " has shape ", shape_text(scale->shape), " and type ", safetensors_name(scale->dtype),
                                  ", wanted ", shape_text(wanted), " and F32"));
  std::vector<float> scales(static_cast<std::size_t>(scale->elements()));
  std::memcpy(scales.data(), scale->data, scale->bytes());
  auto out = std::make_shared<std::vector<std::uint16_t>>(static_cast<std::size_t>(weight.elements()));
  dequantise_blocks(reinterpret_cast<const std::uint8_t*>(weight.data), rows, columns, scales.data(), block, out->data());
  owners.push_back(out);
  return {weight.name, DType::kBF16, weight.shape, reinterpret_cast<const std::byte*>(out->data()), -1};
}

const char* torch_name(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "float32";
    case DType::kF16: return "float16";
    case DType::kBF16: return "bfloat16";
    default: throw CheckpointError(message("models are saved as F32, F16 or BF16, not as ", safetensors_name(dtype)));
  }
}

// What a directory of this config holds.
std::vector<Parameter> file_layout(const ModelConfig& config) {
  std::vector<Parameter> layout = parameter_layout(config);
  for (Parameter& p : buffer_layout(config)) layout.push_back(std::move(p));
  if (config.scalar_head) layout.push_back({"score.weight", {1, config.hidden_size}, 0, config.hidden_size});
  return layout;
}

constexpr const char* kSideFiles[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                      "chat_template.jinja", "generation_config.json", "added_tokens.json",
                                      "vocab.json", "merges.txt", "chat_template.json"};

}  // namespace

namespace {
// Files whose config.json tells of multi-token prediction layers may lack them: transformers does not save them.
bool holds_layer(const SafetensorsSet& set, std::int64_t layer) {
  const std::string prefix = message("model.layers.", layer, ".");
  for (const SafetensorsFile& file : set.files)
    for (const TensorView& tensor : file.tensors())
      if (tensor.name.starts_with(prefix)) return true;
  return false;
}
}  // namespace

ModelDirectory::ModelDirectory(const fs::path& dir)
    : path_(dir), config_(ModelConfig::load(dir)), set_(SafetensorsSet::open(dir)) {
  if (config_.num_mtp_layers > 0 && !holds_layer(set_, config_.num_hidden_layers)) config_.num_mtp_layers = 0;
  const std::vector<Parameter> parameters = file_layout(config_);
  std::unordered_map<std::string_view, std::size_t> index;
  for (std::size_t i = 0; i < parameters.size(); ++i) index.emplace(parameters[i].name, i);
  std::vector<const TensorView*> found(parameters.size(), nullptr), scales(parameters.size(), nullptr);
  const TensorView* tied_head = nullptr;
  fs::path tied_head_file;
  auto owners = std::make_shared<std::vector<std::shared_ptr<const void>>>();
  for (const SafetensorsFile& file : set_.files) {
    owners->push_back(file.owner());
    for (const TensorView& tensor : file.tensors()) {
      const auto it = index.find(tensor.name);
      if (it != index.end()) {
        if (found[it->second] != nullptr)
          throw CheckpointError(message(file.path().string(), ": tensor ", tensor.name, " is in another shard too"));
        check(tensor, parameters[it->second], file.path(), config_.fp8.has_value());
        found[it->second] = &tensor;
      } else if (const auto of = tensor.name.ends_with(kScale) ? index.find(std::string_view(tensor.name).substr(0, tensor.name.size() - kScale.size()))
                                                               : index.end();
                 config_.fp8 && of != index.end()) {
        scales[of->second] = &tensor;
      } else if (config_.tie_word_embeddings && tensor.name == "lm_head.weight") {
        tied_head = &tensor;
        tied_head_file = file.path();
      } else if (!is_ignored(tensor.name) && !is_repeated(config_, tensor.name)) {
        throw CheckpointError(message(file.path().string(), ": tensor ", tensor.name, " is not part of a ", config_.model_type,
                                      " model with the config.json beside it"));
      }
    }
  }
  const std::string where = set_.files.size() == 1 ? set_.files.front().path().string() : (dir / "model.safetensors.index.json").string();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (found[i] == nullptr) throw CheckpointError(message(where, ": tensor ", parameters[i].name, " is missing"));
    if (found[i]->dtype == DType::kF8E4M3) snapshot_.tensors.push_back(dequantised(*found[i], scales[i], *config_.fp8, where, *owners));
    else snapshot_.tensors.push_back(*found[i]);
  }
  snapshot_.owner = owners;
  if (tied_head != nullptr) {
    const TensorView& embedding = snapshot_.tensors.front();
    if (tied_head->shape != embedding.shape || tied_head->dtype != embedding.dtype ||
        std::memcmp(tied_head->data, embedding.data, embedding.bytes()) != 0)
      throw CheckpointError(message(tied_head_file.string(), ": lm_head.weight differs from model.embed_tokens.weight, but ",
                                    "config.json says tie_word_embeddings true; set it to false to keep the head"));
  }
}

WeightSnapshot ModelDirectory::snapshot() const { return snapshot_; }

void ModelDirectory::load_into(WeightStore& store) const {
  WeightSnapshot backbone = snapshot_;
  if (config_.scalar_head) backbone.tensors.pop_back();
  store.load(backbone);
}

LoadedModel load_model(const fs::path& path, DType dtype) {
  if (is_gguf(path)) {
    const GgufModel model(path);
    LoadedModel loaded{model.config(), WeightStore(model.config(), dtype)};
    model.load_into(loaded.weights);
    return loaded;
  }
  const ModelDirectory directory(path);
  LoadedModel loaded{directory.config(), WeightStore(directory.config(), dtype)};
  directory.load_into(loaded.weights);
  return loaded;
}

bool is_gguf(const fs::path& path) {
  std::error_code none;
  if (!fs::is_regular_file(path, none)) return false;
  char magic[4] = {};
  std::ifstream(path, std::ios::binary).read(magic, 4);
  return std::memcmp(magic, "GGUF", 4) == 0;
}

void write_model_files(const fs::path& dir, const ModelConfig& config, std::span<const TensorView> tensors,
                       const SaveModelOptions& options) {
  std::unordered_map<std::string_view, const TensorView*> given;
  for (const TensorView& tensor : tensors)
    if (!given.emplace(tensor.name, &tensor).second)
      throw CheckpointError(message("saving ", dir.string(), ": tensor ", tensor.name, " is given twice"));
  std::vector<TensorView> ordered;
  for (const Parameter& p : file_layout(config)) {
    const auto it = given.find(p.name);
    if (it == given.end()) throw CheckpointError(message("saving ", dir.string(), ": tensor ", p.name, " is missing"));
    if (it->second->shape != p.shape)
      throw CheckpointError(message("saving ", dir.string(), ": tensor ", p.name, " has shape ", shape_text(it->second->shape),
                                    ", the config asks for ", shape_text(p.shape)));
    ordered.push_back(*it->second);
    given.erase(it);
  }
  if (!given.empty())
    throw CheckpointError(message("saving ", dir.string(), ": tensor ", given.begin()->first, " is not part of the model"));
  // Loaders of prediction layers look for these copies; a writer that fetches data by name cannot give them.
  for (std::int64_t i = 0; i < config.num_mtp_layers && !options.materialise; ++i) {
    const std::string layer = message("model.layers.", config.num_hidden_layers + i, ".");
    for (const TensorView& t : std::vector<TensorView>(ordered)) {
      const bool head = t.name == (config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
      TensorView copy = t;
      if (t.name == "model.embed_tokens.weight") copy.name = layer + "embed_tokens.weight", ordered.push_back(copy);
      if (head) copy.name = layer + "shared_head.head.weight", ordered.push_back(copy);
    }
  }

  std::map<std::string, std::string> files = options.side_files;
  if (!options.side_files_from.empty())
    for (const char* name : kSideFiles)
      if (!files.contains(name) && path_exists(options.side_files_from / name)) files[name] = read_file(options.side_files_from / name);
  files["config.json"] = config.to_json(torch_name(options.dtype));
  SafetensorsWriteOptions writing;
  writing.float_type = options.dtype;
  for (const Parameter& p : buffer_layout(config)) writing.keep_type.insert(p.name);
  writing.materialise = options.materialise;
  write_safetensors_set(dir, ordered, writing, options.shard_bytes);
  for (const auto& [name, content] : files) write_file_atomic(dir / name, content);
}

void save_model_directory(const fs::path& dir, const ModelConfig& config, std::span<const TensorView> tensors,
                          const SaveModelOptions& options) {
  if (path_exists(dir)) {
    const bool is_empty = fs::is_directory(dir) && fs::is_empty(dir);
    const bool is_model = path_exists(dir / "config.json");
    if (!is_empty && !(options.overwrite && is_model))
      throw IoError(message("cannot write a model to ", dir.string(), ": it exists and is not empty; choose another folder",
                            is_model ? ", or ask for it to be overwritten" : ""));
  }
  AtomicDirectory folder(dir);
  write_model_files(folder.path(), config, tensors, options);
  folder.commit();
}

}  // namespace r1
