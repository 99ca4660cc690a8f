#include "model/tensor_split.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace r1 {
namespace {

void divide(std::int64_t n, int size, const char* what, const char* key) {
  if (n % size == 0) return;
  throw ConfigError(message(key, " is ", size, ", but this model's ", n, " ", what, " are not divisible by it; use a divisor of ", n));
}

void refuse(bool there, const char* what, const char* key) {
  if (there) throw ConfigError(message(key, ": a model with ", what, " is not split over ranks; set it to 1"));
}

void check_heads(const ModelConfig& c, int size, const char* key) {
  refuse(c.mla.has_value(), "latent attention (MLA)", key);
  refuse(c.moe.has_value(), "experts", key);
  refuse(c.num_mtp_layers > 0, "multi-token prediction layers", key);
  divide(c.num_attention_heads, size, "attention heads", key);
  divide(c.num_key_value_heads, size, "key-value heads", key);
}

bool ends_with_any(const std::string& name, std::initializer_list<const char*> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](const char* end) { return name.ends_with(end); });
}

}  // namespace

ModelConfig split_config(const ModelConfig& config, const TensorSplit& split) {
  if (split.size == 1) return config;
  if (split.experts) {
    constexpr const char* kKey = "train.expert_parallel";
    if (!config.moe) throw ConfigError(message(kKey, " is ", split.size, ", but this ", config.model_type, " model has no experts; set it to 1"));
    divide(config.moe->num_experts, split.size, "experts of a layer", kKey);
    ModelConfig out = config;
    out.moe->num_held = config.moe->num_experts / split.size, out.moe->first_held = out.moe->num_held * split.rank;
    return out;
  }
  constexpr const char* kKey = "train.tensor_parallel";
  check_heads(config, split.size, kKey);
  refuse(config.qk_norm && config.qk_norm_all_heads, "norms over all heads together", kKey);
  divide(config.intermediate_size, split.size, "columns of the MLP (intermediate_size)", kKey);
  ModelConfig out = config;
  out.num_attention_heads /= split.size, out.num_key_value_heads /= split.size, out.intermediate_size /= split.size;
  const auto [first, last] = vocabulary_rows(config, split);
  if (first >= last) throw ConfigError(message(kKey, " is ", split.size, ": the vocabulary of ", config.vocab_size, " has no rows for rank ", split.rank));
  out.vocab_size = last - first;
  return out;
}

void check_sequence_split(const ModelConfig& config, int size) { check_heads(config, size, "train.sequence_parallel"); }

std::pair<std::int64_t, std::int64_t> vocabulary_rows(const ModelConfig& config, const TensorSplit& split) {
  const std::int64_t each = (config.vocab_size + split.size - 1) / split.size;
  return {std::min(config.vocab_size, each * split.rank), std::min(config.vocab_size, each * (split.rank + 1))};
}

int expert_owner(const ModelConfig& config, const std::string& name, const TensorSplit& split) {
  constexpr std::string_view kMark = ".experts.";
  const std::size_t at = name.find(kMark);
  if (!split.experts || split.size == 1 || at == std::string::npos) return -1;
  return static_cast<int>(std::stoll(name.substr(at + kMark.size())) / (config.moe->num_experts / split.size));
}

TensorCut cut_of(const ModelConfig& config, const std::string& name, const std::vector<std::int64_t>& whole, const TensorSplit& split) {
  TensorCut cut;
  cut.whole = whole;
  cut.columns = cut.last_column = whole.size() > 1 ? whole[1] : 1;
  const auto part = [&](std::int64_t begin, std::int64_t size) {  // this rank's of `size` rows at `begin`
    const std::int64_t each = size / split.size;
    cut.rows.emplace_back(begin + each * split.rank, begin + each * (split.rank + 1));
  };
  cut.all = false;
  if (split.size == 1 || split.experts) {
    cut.all = true;
  } else if (ends_with_any(name, {"embed_tokens.weight", "lm_head.weight"})) {
    cut.rows.push_back(vocabulary_rows(config, split));
  } else if (name.ends_with(".qkv_proj.weight")) {
    const std::int64_t q = config.num_attention_heads * config.head_dim, kv = config.num_key_value_heads * config.head_dim;
    part(0, q), part(q, kv), part(q + kv, kv);
  } else if (name.ends_with(".gate_up_proj.weight")) {
    part(0, whole[0] / 2), part(whole[0] / 2, whole[0] / 2);
  } else if (ends_with_any(name, {".q_proj.weight", ".k_proj.weight", ".v_proj.weight", ".q_proj.bias", ".k_proj.bias", ".v_proj.bias",
                                  ".gate_proj.weight", ".up_proj.weight", ".gate_proj.bias", ".up_proj.bias"})) {
    part(0, whole[0]);
  } else if (ends_with_any(name, {".o_proj.weight", ".down_proj.weight"})) {
    const std::int64_t each = cut.columns / split.size;
    cut.first_column = each * split.rank, cut.last_column = cut.first_column + each;
  } else {
    cut.all = true;
  }
  if (cut.rows.empty()) cut.rows.emplace_back(0, whole[0]);
  return cut;
}

std::int64_t TensorCut::whole_elements() const { return whole[0] * columns; }

void TensorCut::take(const std::byte* from, std::byte* to, std::size_t size) const {
  const std::size_t width = static_cast<std::size_t>(last_column - first_column) * size;
  for (const auto& [first, last] : rows) {
    for (std::int64_t r = first; r < last; ++r, to += width) std::memcpy(to, from + static_cast<std::size_t>(r * columns + first_column) * size, width);
  }
}

void TensorCut::put(const std::byte* from, std::byte* to, std::size_t size) const {
  const std::size_t width = static_cast<std::size_t>(last_column - first_column) * size;
  for (const auto& [first, last] : rows) {
    for (std::int64_t r = first; r < last; ++r, from += width) std::memcpy(to + static_cast<std::size_t>(r * columns + first_column) * size, from, width);
  }
}

}  // namespace r1
