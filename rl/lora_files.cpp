// PEFT directories of a LoRA adapter.
#include <array>
#include <cmath>
#include <cstring>
#include <map>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "model/element_convert.h"
#include "model/mapped_file.h"
#include "model/safetensors.h"
#include "rl/lora_adapter.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char *kConfig = "adapter_config.json", *kWeights = "adapter_model.safetensors";
constexpr std::string_view kPrefix = "base_model.model.", kA = ".lora_A.weight", kB = ".lora_B.weight";

Json read_config(const fs::path& dir) {
  const std::string name = (dir / kConfig).string();
  try {
    Json json = Json::parse(read_file(name));
    if (!json.is_object()) throw CheckpointError(message(name, ": expected a JSON object"));
    return json;
  } catch (const Json::exception& e) {
    throw CheckpointError(message(name, ": ", e.what()));
  }
}

bool is_set(const Json& config, const char* key) {
  const auto it = config.find(key);
  if (it == config.end() || it->is_null()) return false;
  return it->is_boolean() ? it->get<bool>() : !(it->is_structured() || it->is_string()) || !it->empty();
}

// What would change the computation and is not done here.
void refuse_unknown(const Json& config, const std::string& name) {
  if (config.value("peft_type", "") != "LORA")
    throw CheckpointError(message(name, ": peft_type is ", config.value("peft_type", "missing"), "; only LORA is known"));
  for (const char* key : {"use_dora", "use_qalora", "use_bdlora", "lora_bias", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern",
                          "layer_replication", "target_parameters", "trainable_token_indices", "alora_invocation_tokens", "arrow_config",
                          "monteclora_config", "kasa_config", "velora_config"})
    if (is_set(config, key))
      throw CheckpointError(message(name, ": ", key, " is set to ", config[key].dump(),
                                    ", which is not known here; merge the adapter with PEFT and use the merged model"));
  if (config.value("bias", "none") != "none") throw CheckpointError(message(name, ": bias is ", config["bias"].dump(), "; only none is known"));
}

}  // namespace

bool LoraAdapter::is_adapter(const fs::path& dir) { return path_exists(dir / kConfig); }

std::string LoraAdapter::base_model(const fs::path& dir) {
  const Json config = read_config(dir);
  const auto it = config.find("base_model_name_or_path");
  return it != config.end() && it->is_string() ? it->get<std::string>() : "";
}

LoraAdapter LoraAdapter::load(const fs::path& dir, const ModelConfig& model) {
  const std::string name = (dir / kConfig).string();
  const Json config = read_config(dir);
  refuse_unknown(config, name);
  LoraAdapter out;
  try {
    out.options_.rank = config.at("r").get<int>();
    out.options_.alpha = config.at("lora_alpha").get<double>();
    out.options_.rslora = config.value("use_rslora", false);
  } catch (const Json::exception& e) {
    throw CheckpointError(message(name, ": ", e.what()));
  }
  if (out.options_.rank < 1) throw CheckpointError(message(name, ": r is ", out.options_.rank, ", must be at least 1"));
  const SafetensorsFile file(dir / kWeights);
  std::map<std::string, const TensorView*> given;
  for (const TensorView& t : file.tensors()) given[t.name] = &t;
  std::vector<Parameter> weights;
  std::map<std::string, bool> targets;
  for (const Parameter& p : parameter_layout(model)) {
    const std::string module = p.name.ends_with(".weight") ? p.name.substr(0, p.name.size() - 7) : p.name;
    const bool a = given.contains(std::string(kPrefix) + module + std::string(kA)),
               b = given.contains(std::string(kPrefix) + module + std::string(kB));
    if (!a && !b) continue;
    if (a != b) throw CheckpointError(message((dir / kWeights).string(), ": ", module, " has lora_", a ? "A but no lora_B" : "B but no lora_A"));
    if (p.shape.size() != 2 || module.ends_with("embed_tokens") || module.ends_with("lm_head"))
      throw CheckpointError(message((dir / kWeights).string(), ": an adapter of ", p.name, " is not known here"));
    weights.push_back(p);
    targets[module.substr(module.rfind('.') + 1)] = true;
  }
  if (weights.empty()) throw CheckpointError(message((dir / kWeights).string(), ": no tensor is an adapter of this model"));
  out.options_.targets.clear();
  for (const auto& [target, _] : targets) out.options_.targets.push_back(target);
  out.lay_out(weights);
  if (given.size() != out.parameters_.size()) {
    for (const Parameter& p : out.parameters_) given.erase(p.name);
    throw CheckpointError(message((dir / kWeights).string(), ": tensor ", given.begin()->first, " belongs to nothing in this model"));
  }
  for (const Parameter& p : out.parameters_) {
    const TensorView& t = *given.at(p.name);
    if (t.shape != p.shape)
      throw CheckpointError(message((dir / kWeights).string(), ": tensor ", p.name, " has ", t.elements(), " elements, r = ", out.options_.rank,
                                    " and the model ask for ", p.elements));
    convert_elements(t.dtype, t.data, DType::kF32, reinterpret_cast<std::byte*>(out.values_.data() + p.offset), static_cast<std::size_t>(p.elements));
  }
  return out;
}

void LoraAdapter::save(const fs::path& dir, const std::string& base_model, std::span<const float> score) const {
  make_directories(dir);
  const bool whole = options_.alpha == std::floor(options_.alpha);
  Json config = {{"peft_type", "LORA"}, {"task_type", score.empty() ? "CAUSAL_LM" : "SEQ_CLS"}, {"base_model_name_or_path", base_model}, {"r", options_.rank},
                 {"lora_alpha", whole ? Json(static_cast<std::int64_t>(options_.alpha)) : Json(options_.alpha)}, {"lora_dropout", options_.dropout},
                 {"target_modules", Json::array()}, {"use_rslora", options_.rslora}, {"use_dora", false}, {"bias", "none"}, {"fan_in_fan_out", false},
                 {"init_lora_weights", true}, {"modules_to_save", score.empty() ? Json(nullptr) : Json{"score"}}, {"inference_mode", true}};
  std::map<std::string, bool> targets;
  for (const LoraPair& p : pairs_) {
    const std::string module = p.weight.name.substr(0, p.weight.name.size() - 7);
    targets[module.substr(module.rfind('.') + 1)] = true;
  }
  for (const auto& [target, _] : targets) config["target_modules"].push_back(target);
  std::vector<TensorView> tensors;
  for (const Parameter& p : parameters_)
    tensors.push_back({p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(values_.data() + p.offset), -1});
  if (!score.empty())
    tensors.push_back({"base_model.model.score.weight", DType::kF32, {1, std::ssize(score)}, reinterpret_cast<const std::byte*>(score.data()), -1});
  write_safetensors(dir / kWeights, tensors, {});
  write_file_atomic(dir / kConfig, config.dump(2) + "\n");
}

}  // namespace r1
