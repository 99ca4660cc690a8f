#include "model/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"

namespace r1 {
namespace {

[[noreturn]] void refuse(const GgufFile& file, const std::string& why) {
  throw CheckpointError(message(file.path().string(), ": ", why));
}

// Keys of the architecture that are read here or change nothing. Any other that turns something on is refused.
void check_keys(const GgufFile& file, const std::string& arch) {
  static const std::set<std::string, std::less<>> kKnown = {
      "block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
      "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon",
      "rope.freq_base", "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor",
      "rope.scaling.original_context_length", "rope.scaling.finetuned", "vocab_size", "tensor_data_layout"};
  const std::string prefix = arch + ".";
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with(prefix) || kKnown.contains(key.substr(prefix.size()))) continue;
    const auto* whole = std::get_if<std::int64_t>(&value);
    const auto* number = std::get_if<double>(&value);
    const auto* flag = std::get_if<bool>(&value);
    if ((whole && *whole == 0) || (number && *number == 0) || (flag && !*flag)) continue;
    refuse(file, message("metadata key ", key, " is not supported: it may change the computation"));
  }
}

// Llama 3.1's scaling is stored as divisors of the frequencies only (rope_freqs.weight). Its parameters are found again
// from the largest divisor, and must reproduce the tensor.
void read_llama3_scaling(const GgufFile& file, const std::string& arch, ModelConfig& out) {
  const GgufTensor* tensor = file.find("rope_freqs.weight");
  if (tensor == nullptr) return;
  const std::vector<float> divisors = file.floats(*tensor);
  if (divisors.size() != static_cast<std::size_t>(out.head_dim / 2))
    refuse(file, message("tensor rope_freqs.weight has ", divisors.size(), " elements, ", out.head_dim / 2, " expected"));
  ModelConfig plain = out;
  plain.rope_scaling = {};
  out.rope_scaling.kind = RopeScaling::Kind::kLlama3;
  out.rope_scaling.factor = static_cast<double>(*std::max_element(divisors.begin(), divisors.end()));
  const std::string original = arch + ".rope.scaling.original_context_length";
  out.rope_scaling.original_max_position_embeddings = file.has(original) ? file.integer(original) : 8192;
  const std::vector<float> before = rope_inverse_frequencies(plain), after = rope_inverse_frequencies(out);
  for (std::size_t i = 0; i < divisors.size(); ++i)
    if (!(std::fabs(before[i] / after[i] / divisors[i] - 1) < 1e-4f))
      refuse(file, message("tensor rope_freqs.weight is not Llama 3.1's scaling (low_freq_factor 1, high_freq_factor 4, ",
                           "original context ", out.rope_scaling.original_max_position_embeddings, "): entry ", i, " is ",
                           divisors[i], ", ", before[i] / after[i], " expected"));
}

void read_rope(const GgufFile& file, const std::string& arch, ModelConfig& out) {
  const std::string base = arch + ".rope.";
  if (file.has(base + "freq_base")) out.rope_theta = file.number(base + "freq_base");
  if (file.has(base + "dimension_count") && file.integer(base + "dimension_count") != out.head_dim)
    refuse(file, message(base, "dimension_count is ", file.integer(base + "dimension_count"), ", only the head width ",
                         out.head_dim, " is supported"));
  const std::string type = file.has(base + "scaling.type") ? file.text(base + "scaling.type") : "none";
  if (type == "linear") {
    out.rope_scaling.kind = RopeScaling::Kind::kLinear;
    out.rope_scaling.factor = file.number(base + "scaling.factor");
  } else if (type != "none" && type != "") {
    refuse(file, message(base, "scaling.type is ", type, "; supported are none and linear"));
  }
  read_llama3_scaling(file, arch, out);
}

std::optional<TokenId> token_of(const GgufFile& file, const char* name, std::int64_t vocab) {
  const std::string key = std::string("tokenizer.ggml.") + name + "_token_id";
  if (!file.has(key)) return std::nullopt;
  const std::int64_t id = file.integer(key);
  if (id < 0 || id >= vocab) refuse(file, message(key, " is ", id, ", outside the vocabulary of ", vocab));
  return static_cast<TokenId>(id);
}

}  // namespace

ModelConfig config_of_gguf(const GgufFile& file) {
  const std::string& arch = file.text("general.architecture");
  if (arch != "llama" && arch != "qwen2" && arch != "qwen3")
    refuse(file, message("general.architecture is ", arch, "; supported architectures: llama, qwen2, qwen3"));
  check_keys(file, arch);
  const auto key = [&](const char* name) { return arch + "." + name; };

  ModelConfig out;
  out.model_type = arch;
  out.num_hidden_layers = file.integer(key("block_count"));
  out.hidden_size = file.integer(key("embedding_length"));
  out.intermediate_size = file.integer(key("feed_forward_length"));
  out.max_position_embeddings = file.integer(key("context_length"));
  out.num_attention_heads = file.integer(key("attention.head_count"));
  out.num_key_value_heads =
      file.has(key("attention.head_count_kv")) ? file.integer(key("attention.head_count_kv")) : out.num_attention_heads;
  if (out.num_attention_heads < 1 || out.hidden_size < 1)
    refuse(file, message(key("attention.head_count"), " is ", out.num_attention_heads, ", ", key("embedding_length"), " is ",
                         out.hidden_size));
  out.head_dim = file.has(key("attention.key_length")) ? file.integer(key("attention.key_length"))
                                                       : out.hidden_size / out.num_attention_heads;
  if (file.has(key("attention.value_length")) && file.integer(key("attention.value_length")) != out.head_dim)
    refuse(file, message(key("attention.value_length"), " differs from the key width ", out.head_dim));
  out.rms_norm_eps = static_cast<float>(file.number(key("attention.layer_norm_rms_epsilon")));
  out.vocab_size = file.at("token_embd.weight").shape.front();
  out.tie_word_embeddings = file.find("output.weight") == nullptr;
  out.qk_norm = arch == "qwen3";
  out.qkv_bias = arch == "qwen2" || file.find("blk.0.attn_q.bias") != nullptr;
  out.o_bias = file.find("blk.0.attn_output.bias") != nullptr;
  out.mlp_bias = file.find("blk.0.ffn_gate.bias") != nullptr;
  if (arch != "qwen2" && out.qkv_bias != out.o_bias)
    refuse(file, "attention biases on only some of q, k, v and output are not supported for this architecture");
  read_rope(file, arch, out);

  out.bos_token_id = token_of(file, "bos", out.vocab_size);
  out.pad_token_id = token_of(file, "padding", out.vocab_size);
  // A chat model may end a turn by a token other than the end of text; both end a completion.
  for (const char* name : {"eos", "eot", "eom"}) {
    const auto id = token_of(file, name, out.vocab_size);
    if (id && std::find(out.eos_token_ids.begin(), out.eos_token_ids.end(), *id) == out.eos_token_ids.end())
      out.eos_token_ids.push_back(*id);
  }
  // Through the one reader, so that sizes are checked in one place.
  return ModelConfig::from_json(out.to_json("bfloat16"), file.path().string());
}

}  // namespace r1
