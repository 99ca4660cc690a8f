#include "model/config_json.h"

#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace r1::detail {

using nlohmann::json;

ConfigJson::ConfigJson(const json& object, std::string name, std::string prefix)
    : object_(object), name_(std::move(name)), prefix_(std::move(prefix)) {}

void ConfigJson::refuse(const std::string& key, const std::string& why) const {
  std::string value = object_.contains(key) ? object_.at(key).dump() : "absent";
  if (value.size() > 120) value = value.substr(0, 120) + "...";
  throw CheckpointError(message(name_, ": ", prefix_, key, " is ", value, "; ", why));
}

bool ConfigJson::has(const char* key) const { return object_.contains(key) && !object_.at(key).is_null(); }

std::int64_t ConfigJson::whole(const char* key, std::optional<std::int64_t> missing, std::int64_t low, std::int64_t limit) const {
  if (!has(key)) {
    if (missing) return *missing;
    refuse(key, low > 0 ? "a positive whole number is needed" : "a whole number is needed");
  }
  const json& value = object_.at(key);
  if (!value.is_number_integer() || value.get<double>() < static_cast<double>(low) || value.get<double>() > static_cast<double>(limit))
    refuse(key, message("a whole number from ", low, " to ", limit, " is needed"));
  return value.get<std::int64_t>();
}

std::int64_t ConfigJson::positive(const char* key, std::optional<std::int64_t> missing, std::int64_t limit) const {
  return whole(key, missing, 1, limit);
}

double ConfigJson::number(const char* key, double missing) const {
  if (!has(key)) return missing;
  if (!object_.at(key).is_number()) refuse(key, "a number is needed");
  return object_.at(key).get<double>();
}

double ConfigJson::positive_number(const char* key, std::optional<double> missing) const {
  if (!has(key) && !missing) refuse(key, "a number above 0 is needed");
  const double value = number(key, missing.value_or(0));
  if (!(value > 0) || !std::isfinite(value)) refuse(key, "a number above 0 is needed");
  return value;
}

bool ConfigJson::flag(const char* key, bool missing) const {
  if (!has(key)) return missing;
  if (!object_.at(key).is_boolean()) refuse(key, "true or false is needed");
  return object_.at(key).get<bool>();
}

std::string ConfigJson::text(const char* key, const std::string& missing) const {
  if (!has(key)) return missing;
  if (!object_.at(key).is_string()) refuse(key, "a text is needed");
  return object_.at(key).get<std::string>();
}

std::vector<TokenId> ConfigJson::tokens(const char* key) const {
  std::vector<TokenId> ids;
  if (!has(key)) return ids;
  const json& value = object_.at(key);
  const json list = value.is_array() ? value : json::array({value});
  for (const json& id : list) {
    if (!id.is_number_integer() || id.get<double>() < 0 || id.get<double>() > std::numeric_limits<TokenId>::max())
      refuse(key, "a token id (a whole number from 0) or a list of them is needed");
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

std::optional<TokenId> ConfigJson::token(const char* key) const {
  const std::vector<TokenId> ids = tokens(key);
  return ids.empty() ? std::nullopt : std::optional(ids.front());
}

namespace {

struct Rule {
  const char* key;
  std::vector<json> honoured;  // any of these, or null
  const char* why;
};

const std::vector<Rule>& rules() {
  static const std::vector<Rule> kRules = {
      {"hidden_act", {"silu", "swish"}, "only silu is supported"},
      {"hidden_activation", {"silu", "swish"}, "only silu is supported"},
      {"use_sliding_window", {false}, "sliding-window attention is not supported"},
      {"partial_rotary_factor", {1, 1.0}, "rotary embedding of a part of the head is not supported"},
      {"pretraining_tp", {0, 1}, "only 1 is supported: slices of a layer round differently"},
      {"rope_interleaved", {false}, "only half-split rotary embedding is supported"},
      {"quantization_config", {}, "quantised weights are not supported; use the unquantised model or its GGUF file"},
      {"attention_dropout", {0, 0.0}, "dropout is not supported"},
      {"hidden_dropout", {0, 0.0}, "dropout is not supported"},
      {"logits_scaling", {1, 1.0}, "scaled logits are not supported"},
      {"logit_scale", {1, 1.0}, "scaled logits are not supported"},
      {"embedding_multiplier", {1, 1.0}, "scaled embeddings are not supported"},
      {"residual_multiplier", {1, 1.0}, "scaled residuals are not supported"},
      {"attention_multiplier", {}, "a scale of the scores other than 1/sqrt(head_dim) is not supported"},
      {"use_mrope", {false}, "multi-axis rotary embedding is not supported"},
      {"use_mla", {true}, "only latent attention is supported for this family"},
      {"router_jitter_noise", {0, 0.0}, "noise in the router is not supported"},
      {"embd_pdrop", {0, 0.0}, "dropout is not supported"},
      {"resid_pdrop", {0, 0.0}, "dropout is not supported"},
      {"use_bidirectional_attention", {false}, "only causal attention is supported"},
      {"is_decoder", {true, false}, "true or false is needed"},
      {"add_cross_attention", {false}, "cross attention is not supported"},
      {"tie_encoder_decoder", {false}, "encoder-decoder models are not supported"},
      {"is_encoder_decoder", {false}, "encoder-decoder models are not supported"},
  };
  return kRules;
}

// Read elsewhere, or without influence on what the weights compute.
const std::set<std::string, std::less<>>& harmless_keys() {
  static const std::set<std::string, std::less<>> kKeys = {
      "attention_bias", "mlp_bias", "head_dim", "num_attention_heads", "num_hidden_layers", "num_key_value_heads",
      "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling", "rope_parameters", "layer_types",
      "tie_word_embeddings", "sliding_window", "max_window_layers", "output_attentions", "attn_implementation",
      "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal", "initializer_range",
      "cross_attention_hidden_size", "repetition_penalty", "length_penalty", "diversity_penalty",
      "encoder_no_repeat_ngram_size", "position_embedding_type", "output_router_logits", "cache_implementation"};
  return kKeys;
}

bool speaks_of_the_computation(std::string_view key) {
  constexpr std::array<std::string_view, 27> kParts = {
      "scal",  "multiplier", "softcap", "cap_", "window", "sliding", "expert", "moe", "rope",
      "rotary", "norm",      "bias",    "attn", "attention", "quant", "sparse", "residual", "logit",
      "position", "embed",   "lora",    "mup",  "alibi",  "chunk",  "nextn",  "mrope", "mlp"};
  for (const auto part : kParts)
    if (key.find(part) != std::string_view::npos) return true;
  return false;
}

bool turns_nothing_on(const json& value) {
  return value.is_null() || value == false || ((value.is_array() || value.is_object()) && value.empty()) ||
         (value.is_number() && value == 0);
}

}  // namespace

void refuse_unsupported_keys(const json& config, const ConfigJson& reader, const std::set<std::string>& honoured_keys) {
  std::set<std::string, std::less<>> ruled;
  for (const Rule& rule : rules()) {
    ruled.insert(rule.key);
    if (!reader.has(rule.key) || honoured_keys.contains(rule.key)) continue;
    bool honoured = false;
    for (const json& value : rule.honoured) honoured = honoured || config.at(rule.key) == value;
    if (!honoured) reader.refuse(rule.key, rule.why);
  }
  for (const auto& [key, value] : config.items()) {
    if (ruled.contains(key) || harmless_keys().contains(key) || honoured_keys.contains(key) || turns_nothing_on(value)) continue;
    if (speaks_of_the_computation(key))
      reader.refuse(key, "this key is not known here and seems to change the computation; remove it if it does not");
  }
}

}  // namespace r1::detail
