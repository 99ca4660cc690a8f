// Architecture of a dense decoder from an HF config.json. Fields that change the computation and are not honoured
// here are refused, never ignored.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"

namespace r1 {

// Llama 3.1 (rope_type "llama3") and linear scaling; formulas in models.md section 4 and 5.
struct RopeScaling {
  enum class Kind : std::uint8_t { kNone, kLinear, kLlama3 } kind = Kind::kNone;
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  std::int64_t original_max_position_embeddings = 0;
};

struct ModelConfig {
  std::string model_type;  // "llama", "qwen2", "qwen3"
  std::int64_t hidden_size = 0, num_hidden_layers = 0, num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  std::int64_t intermediate_size = 0, vocab_size = 0, max_position_embeddings = 0;
  float rms_norm_eps = 1e-6f;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  bool tie_word_embeddings = false;
  bool qkv_bias = false;   // biases on q, k, v (qwen2; llama with attention_bias)
  bool o_bias = false;     // llama with attention_bias
  bool mlp_bias = false;
  bool qk_norm = false;    // qwen3: RMSNorm over head_dim on q and k, before rope
  // A ...ForSequenceClassification of one label (a reward model): its files hold score.weight [1,D] and no LM head, and
  // tie_word_embeddings is true here whatever they say, so that the backbone has none either.
  bool scalar_head = false;
  std::vector<TokenId> eos_token_ids;  // generation_config.json wins over config.json
  std::optional<TokenId> bos_token_id, pad_token_id;
  std::string json;        // config.json as read, written back by save (dtype renewed)

  // Throws CheckpointError naming the file, the key, its value and what is supported.
  static ModelConfig from_json(std::string_view config_json, const std::string& name);
  static ModelConfig load(const std::filesystem::path& dir);  // config.json (+ generation_config.json)

  std::int64_t num_parameters() const;  // models.md section 8; without a scalar head
  // The scorer on this model's backbone, as transformers' AutoModelForSequenceClassification reads it. A pad token that is an end
  // token goes: transformers would look for the score before the end token.
  ModelConfig as_scorer() const;
  // A config.json text for a model made in code (json empty) or the one read.
  std::string to_json(std::string_view torch_dtype) const;
};

// Inverse frequencies [head_dim/2] after scaling, float64 arithmetic rounded to float32 as HF does.
std::vector<float> rope_inverse_frequencies(const ModelConfig&);

}  // namespace r1
