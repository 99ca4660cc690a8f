#include "model/model_config.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "model/config_json.h"
#include "model/mapped_file.h"

namespace r1 {
namespace {

using detail::ConfigJson;
using Json = nlohmann::json;

struct Family {
  const char* model_type;
  const char* architecture;
  std::int64_t max_position_embeddings;  // transformers' default where the file is silent
};
constexpr std::array<Family, 3> kFamilies{{{"llama", "LlamaForCausalLM", 2048},
                                           {"qwen2", "Qwen2ForCausalLM", 32768},
                                           {"qwen3", "Qwen3ForCausalLM", 32768}}};

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
  for (const Family& family : kFamilies) {
    if (type != family.model_type) continue;
    if (reader.has("architectures") && config.at("architectures") != Json::array({family.architecture}) && !is_classifier(config, family))
      reader.refuse("architectures", message("for model_type ", type, " only [\"", family.architecture, "\"] and [\"", classifier_of(family), "\"] are supported"));
    return family;
  }
  std::string supported;
  for (const Family& family : kFamilies) supported += (supported.empty() ? "" : ", ") + std::string(family.model_type);
  reader.refuse("model_type", "supported architectures: " + supported);
}

// Old files have rope_theta beside rope_scaling, new ones hold everything in rope_parameters.
void read_rope(const Json& config, const ConfigJson& reader, const std::string& name, ModelConfig& out) {
  const bool has_new = reader.has("rope_parameters"), has_old = reader.has("rope_scaling");
  if (has_new && has_old && config.at("rope_parameters") != config.at("rope_scaling"))
    reader.refuse("rope_scaling", "it disagrees with rope_parameters; keep one of the two");
  out.rope_theta = reader.positive_number("rope_theta", 10000.0);
  if (!has_new && !has_old) return;
  const char* key = has_new ? "rope_parameters" : "rope_scaling";
  const Json& object = config.at(key);
  if (!object.is_object()) reader.refuse(key, "an object is needed");
  const ConfigJson rope(object, name, std::string(key) + ".");

  const double theta = rope.positive_number("rope_theta", out.rope_theta);
  if (reader.has("rope_theta") && theta != out.rope_theta)
    reader.refuse("rope_theta", message("it disagrees with ", key, ".rope_theta ", theta));
  out.rope_theta = theta;

  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (rope.has("type") && rope.text("type", "") != type) rope.refuse("type", "it disagrees with rope_type " + type);
  RopeScaling& s = out.rope_scaling;
  std::vector<std::string> allowed = {"type", "rope_type", "rope_theta", "partial_rotary_factor"};
  if (type == "linear") {
    s.kind = RopeScaling::Kind::kLinear;
    allowed.insert(allowed.end(), {"factor", "original_max_position_embeddings"});
    s.factor = rope.positive_number("factor");
  } else if (type == "llama3") {
    s.kind = RopeScaling::Kind::kLlama3;
    allowed.insert(allowed.end(), {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"});
    s.factor = rope.positive_number("factor");
    s.low_freq_factor = rope.positive_number("low_freq_factor");
    s.high_freq_factor = rope.positive_number("high_freq_factor");
    s.original_max_position_embeddings = rope.positive("original_max_position_embeddings", out.max_position_embeddings,
                                                          std::numeric_limits<std::int32_t>::max());
    if (s.high_freq_factor <= s.low_freq_factor) rope.refuse("high_freq_factor", "it must be above low_freq_factor");
  } else if (type != "default") {
    rope.refuse(rope.has("rope_type") ? "rope_type" : "type", "supported: default, linear, llama3");
  }
  if (rope.number("partial_rotary_factor", 1) != 1)
    rope.refuse("partial_rotary_factor", "rotary embedding of a part of the head is not supported");
  for (const auto& [entry, value] : object.items()) {
    bool known = value.is_null();
    for (const std::string& k : allowed) known = known || k == entry;
    if (!known) rope.refuse(entry, message("this key has no meaning for rope type ", type, " here"));
  }
}

void read_layer_types(const Json& config, const ConfigJson& reader, std::int64_t layers) {
  if (!reader.has("layer_types")) return;
  const Json& types = config.at("layer_types");
  if (!types.is_array() || types.size() != static_cast<std::size_t>(layers))
    reader.refuse("layer_types", message("a list of ", layers, " entries is needed (num_hidden_layers)"));
  for (const Json& type : types)
    if (type != "full_attention") reader.refuse("layer_types", "only full_attention is supported");
}

void read_sizes(const Family& family, const ConfigJson& reader, ModelConfig& out) {
  const bool is_llama = out.model_type == "llama";
  out.hidden_size = reader.positive("hidden_size");
  out.num_hidden_layers = reader.positive("num_hidden_layers", std::nullopt, 4096);
  out.num_attention_heads = reader.positive("num_attention_heads", std::nullopt, 4096);
  // Qwen's own default is a fixed 32, which fits few models: the file has to say.
  out.num_key_value_heads =
      is_llama ? reader.positive("num_key_value_heads", out.num_attention_heads) : reader.positive("num_key_value_heads");
  out.intermediate_size = reader.positive("intermediate_size");
  out.vocab_size = reader.positive("vocab_size");
  out.max_position_embeddings = reader.positive("max_position_embeddings", family.max_position_embeddings, std::numeric_limits<std::int32_t>::max());
  if (out.num_attention_heads % out.num_key_value_heads != 0)
    reader.refuse("num_attention_heads", message("it must be a multiple of num_key_value_heads ", out.num_key_value_heads));
  if (out.model_type == "qwen3") {
    out.head_dim = reader.positive("head_dim", 128, 4096);
  } else {
    if (!reader.has("head_dim") && out.hidden_size % out.num_attention_heads != 0)
      reader.refuse("hidden_size", message("it must be a multiple of num_attention_heads ", out.num_attention_heads,
                                           " unless head_dim is given"));
    out.head_dim = reader.positive("head_dim", out.hidden_size / out.num_attention_heads, 4096);
  }
  if (out.head_dim % 2 != 0) reader.refuse("head_dim", message("head width ", out.head_dim, " must be even (rotary pairs)"));
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
  detail::refuse_unsupported_keys(config, reader);

  ModelConfig out;
  out.model_type = family.model_type;
  read_sizes(family, reader, out);
  read_layer_types(config, reader, out.num_hidden_layers);
  out.rms_norm_eps = static_cast<float>(reader.positive_number("rms_norm_eps", 1e-6));
  read_rope(config, reader, name, out);
  out.tie_word_embeddings = reader.flag("tie_word_embeddings", false);
  if (is_classifier(config, family)) {
    if (const std::size_t labels = number_of_labels(config); labels != 1)
      reader.refuse("architectures", message("a classifier of ", labels, " labels; a reward model has one (num_labels 1)"));
    out.scalar_head = out.tie_word_embeddings = true;
  }
  // Qwen2 has its biases whatever the file says, as in transformers.
  const bool attention_bias = reader.flag("attention_bias", false);
  out.qk_norm = out.model_type == "qwen3";
  out.qkv_bias = out.model_type == "qwen2" || attention_bias;
  out.o_bias = out.model_type != "qwen2" && attention_bias;
  out.mlp_bias = reader.flag("mlp_bias", false);
  if (out.mlp_bias && out.model_type != "llama") reader.refuse("mlp_bias", "supported for llama only");
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

std::int64_t ModelConfig::num_parameters() const {
  const std::int64_t v = vocab_size, d = hidden_size, h = head_dim, f = intermediate_size;
  const std::int64_t q = num_attention_heads * h, kv = num_key_value_heads * h;
  std::int64_t layer = d * q + 2 * d * kv + q * d + 3 * d * f + 2 * d;
  if (qkv_bias) layer += q + 2 * kv;
  if (o_bias) layer += d;
  if (mlp_bias) layer += 2 * f + d;
  if (qk_norm) layer += 2 * h;
  return v * d * (tie_word_embeddings ? 1 : 2) + d + num_hidden_layers * layer;
}

ModelConfig ModelConfig::as_scorer() const {
  ModelConfig out = *this;
  out.scalar_head = out.tie_word_embeddings = true;
  auto config = nlohmann::ordered_json::parse(json.empty() ? to_json("float32") : json);
  for (const Family& family : kFamilies)
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
    return config.dump(2) + "\n";
  }
  ordered config;
  for (const Family& family : kFamilies)
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
