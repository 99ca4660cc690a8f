#include "model/model_config.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "model/config_families.h"
#include "model/config_json.h"
#include "model/mapped_file.h"

namespace r1 {
namespace {

using detail::ConfigJson;
using detail::Family;
using Json = nlohmann::json;

std::string classifier_of(const Family& family) {
  const std::string name = family.architecture;
  return name.substr(0, name.find("ForCausalLM")) + "ForSequenceClassification";
}

bool is_classifier(const Json& config, const Family& family) {
  return config.contains("architectures") && config.at("architectures") == Json::array({classifier_of(family)});
}

// transformers counts labels by id2label; without it there are two.
std::size_t number_of_labels(const Json& config) {
  if (config.contains("id2label") && config.at("id2label").is_object()) return config.at("id2label").size();
  return config.value("num_labels", std::size_t{2});
}

const Family& family_of(const Json& config, const ConfigJson& reader) {
  const std::string type = reader.text("model_type", "");
  for (const Family& family : detail::families()) {
    if (type != family.model_type) continue;
    if (reader.has("architectures") && config.at("architectures") != Json::array({family.architecture}) && !is_classifier(config, family))
      reader.refuse("architectures", message("for model_type ", type, " only [\"", family.architecture, "\"] and [\"", classifier_of(family), "\"] are supported"));
    return family;
  }
  std::string supported;
  for (const Family& family : detail::families()) supported += (supported.empty() ? "" : ", ") + std::string(family.model_type);
  reader.refuse("model_type", "supported architectures: " + supported);
}

Json parse_object(std::string_view text, const std::string& name) {
  Json parsed;
  try {
    parsed = Json::parse(text);
  } catch (const Json::exception& e) {
    throw CheckpointError(message(name, ": not valid JSON (", e.what(), ")"));
  }
  if (!parsed.is_object()) throw CheckpointError(message(name, ": a JSON object is needed"));
  return parsed;
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    throw CheckpointError(message(path.string(), ": cannot open it; a model folder needs config.json, tokenizer.json and "
                                  "*.safetensors"));
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

ModelConfig ModelConfig::from_json(std::string_view config_json, const std::string& name) {
  const Json config = parse_object(config_json, name);
  const ConfigJson reader(config, name);
  const Family& family = family_of(config, reader);
  detail::refuse_unsupported_keys(config, reader, family.honoured);

  ModelConfig out;
  out.model_type = family.model_type;
  detail::read_sizes(family, reader, out);
  out.rms_norm_eps = static_cast<float>(reader.positive_number("rms_norm_eps", family.rms_norm_eps));
  detail::read_rope(config, family, reader, out);
  out.tie_word_embeddings = reader.flag("tie_word_embeddings", family.tied);
  if (is_classifier(config, family)) {
    if (const std::size_t labels = number_of_labels(config); labels != 1)
      reader.refuse("architectures", message("a classifier of ", labels, " labels; a reward model has one (num_labels 1)"));
    out.scalar_head = out.tie_word_embeddings = true;
  }
  family.read(config, reader, out);
  detail::read_layer_types(config, reader, out);
  detail::read_quantisation(config, reader, out);
  out.eos_token_ids = reader.tokens("eos_token_id");
  out.bos_token_id = reader.token("bos_token_id");
  out.pad_token_id = reader.token("pad_token_id");
  out.json = std::string(config_json);
  return out;
}

ModelConfig ModelConfig::load(const std::filesystem::path& dir) {
  const std::filesystem::path config_path = dir / "config.json", generation_path = dir / "generation_config.json";
  ModelConfig out = from_json(read_text(config_path), config_path.string());
  if (path_exists(generation_path)) {
    const Json generation = parse_object(read_text(generation_path), generation_path.string());
    const ConfigJson reader(generation, generation_path.string());
    if (reader.has("eos_token_id")) out.eos_token_ids = reader.tokens("eos_token_id");
    if (reader.has("bos_token_id")) out.bos_token_id = reader.token("bos_token_id");
    if (reader.has("pad_token_id")) out.pad_token_id = reader.token("pad_token_id");
  }
  return out;
}

ModelConfig ModelConfig::as_scorer() const {
  ModelConfig out = *this;
  out.scalar_head = out.tie_word_embeddings = true;
  auto config = nlohmann::ordered_json::parse(json.empty() ? to_json("float32") : json);
  for (const Family& family : detail::families())
    if (model_type == family.model_type) config["architectures"] = {classifier_of(family)};
  config["id2label"] = {{"0", "LABEL_0"}};
  config["label2id"] = {{"LABEL_0", 0}};
  config["num_labels"] = 1;
  if (out.pad_token_id && std::find(eos_token_ids.begin(), eos_token_ids.end(), *out.pad_token_id) != eos_token_ids.end()) out.pad_token_id.reset();
  config["pad_token_id"] = out.pad_token_id ? nlohmann::ordered_json(*out.pad_token_id) : nlohmann::ordered_json();
  out.json = config.dump(2) + "\n";
  return out;
}

std::string ModelConfig::to_json(std::string_view torch_dtype) const {
  using ordered = nlohmann::ordered_json;
  if (!json.empty()) {
    ordered config = ordered::parse(json);
    // Whichever spelling the file has is renewed; old readers know torch_dtype only, new ones both.
    if (config.contains("dtype")) config["dtype"] = torch_dtype;
    if (config.contains("torch_dtype") || !config.contains("dtype")) config["torch_dtype"] = torch_dtype;
    config.erase("quantization_config");  // what is written is not quantised
    return config.dump(2) + "\n";
  }
  if (mla || moe || !beyond_llama().empty())
    throw CheckpointError(message("a ", model_type, " model needs the text of its config.json to be saved"));
  ordered config;
  for (const Family& family : detail::families())
    if (model_type == family.model_type) config["architectures"] = {family.architecture};
  config["model_type"] = model_type;
  if (model_type != "qwen2") config["attention_bias"] = qkv_bias;
  if (model_type == "llama") config["mlp_bias"] = mlp_bias;
  if (bos_token_id) config["bos_token_id"] = *bos_token_id;
  if (eos_token_ids.size() == 1) config["eos_token_id"] = eos_token_ids.front();
  else if (!eos_token_ids.empty()) config["eos_token_id"] = eos_token_ids;
  if (pad_token_id) config["pad_token_id"] = *pad_token_id;
  config["hidden_act"] = "silu";
  config["hidden_size"] = hidden_size;
  config["head_dim"] = head_dim;
  config["intermediate_size"] = intermediate_size;
  config["max_position_embeddings"] = max_position_embeddings;
  config["num_attention_heads"] = num_attention_heads;
  config["num_hidden_layers"] = num_hidden_layers;
  config["num_key_value_heads"] = num_key_value_heads;
  // The shortest decimal that gives the float back: 1e-05, not 9.999999747e-06.
  std::ostringstream eps;
  eps << rms_norm_eps;
  config["rms_norm_eps"] = std::stof(eps.str()) == rms_norm_eps ? std::stod(eps.str()) : static_cast<double>(rms_norm_eps);
  config["rope_theta"] = rope_theta;
  if (rope_scaling.kind == RopeScaling::Kind::kLinear) {
    config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", rope_scaling.factor}};
  } else if (rope_scaling.kind == RopeScaling::Kind::kLlama3) {
    config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", rope_scaling.factor},
                              {"low_freq_factor", rope_scaling.low_freq_factor},
                              {"high_freq_factor", rope_scaling.high_freq_factor},
                              {"original_max_position_embeddings", rope_scaling.original_max_position_embeddings}};
  }
  config["tie_word_embeddings"] = tie_word_embeddings;
  config["torch_dtype"] = torch_dtype;
  config["vocab_size"] = vocab_size;
  return config.dump(2) + "\n";
}

}  // namespace r1
