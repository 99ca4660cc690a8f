// Architecture of a decoder from an HF config.json. Fields that change the computation and are not honoured here are
// refused, never ignored.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"

namespace r1 {

// Llama 3.1 (rope_type "llama3"), linear scaling, YaRN (arXiv:2309.00071) and LongRoPE (arXiv:2402.13753), as transformers computes them.
struct RopeScaling {
  enum class Kind : std::uint8_t { kNone, kLinear, kLlama3, kYarn, kLong } kind = Kind::kNone;
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  std::int64_t original_max_position_embeddings = 0;
  double beta_fast = 32, beta_slow = 1, mscale = 0, mscale_all_dim = 0;  // YaRN; an mscale of 0 is one that the file does not give
  double attention_factor = 0;  // YaRN, LongRoPE: of cos and sin; 0 = it follows from the rest
  // LongRoPE: divisors [rotated width / 2] of sequences up to the original context, and of longer ones. transformers takes the long ones for
  // every position of a sequence that is longer; one token's row does not know that, so here it is a choice for the whole model.
  std::vector<double> short_factors, long_factors;
  bool long_context = false;
  bool truncate = true;         // YaRN: whole dimensions as the ends of the ramp
};

// Multi-head latent attention (arXiv:2405.04434): per token and layer the cache holds the normed latent and one rotated key.
struct LatentAttention {
  std::int64_t q_lora_rank = 0;  // 0 = queries come straight from the hidden state
  std::int64_t kv_lora_rank = 0, qk_nope_head_dim = 0, qk_rope_head_dim = 0, v_head_dim = 0;
  bool interleaved = true;       // rotary pairs at (2i, 2i + 1) in the weights' order
  std::int64_t cached_width() const { return kv_lora_rank + qk_rope_head_dim; }
};

// A router and its experts in place of some layers' MLP. Equations: models.md section 5 and 6.2.
struct MixtureOfExperts {
  enum class Scoring : std::uint8_t { kSoftmax, kSigmoid } scoring = Scoring::kSoftmax;
  enum class Names : std::uint8_t { kMlp, kMixtral } names = Names::kMlp;
  std::int64_t num_experts = 0, experts_per_token = 0, intermediate_size = 0;
  std::int64_t shared_intermediate_size = 0;  // 0 = no shared expert
  bool shared_gate = false;       // qwen2_moe: sigmoid(x w) weighs the shared expert
  // Groups of experts: the best top_groups of num_groups take part, judged by their best expert (kSoftmax) or by the sum of their two
  // best biased scores (kSigmoid). 1 group = all take part.
  std::int64_t num_groups = 1, top_groups = 1;
  bool normalise = false;         // the chosen weights sum to 1 before the scale
  double normalise_epsilon = 0;   // added to that sum
  double scale = 1;               // routed_scaling_factor
  bool correction_bias = false;   // deepseek_v3: e_score_correction_bias takes part in the choice, not in the weights
  double aux_loss_coef = 0;       // what the model was trained with: aux_loss_alpha, router_aux_loss_coef
  std::vector<bool> layers;       // [num_hidden_layers]: which have experts
  // Of one rank's part (model/tensor_split.h): experts [first_held, first_held + held()) are there.
  std::int64_t first_held = 0, num_held = 0;  // 0 = all
  std::int64_t held() const { return num_held > 0 ? num_held : num_experts; }
};

// FP8 weights in blocks with a scale each (quantization_config of quant_method fp8): X.weight beside X.weight_scale_inv.
struct BlockScales { std::int64_t rows = 128, columns = 128; };

struct ModelConfig {
  std::string model_type;  // as in model_families()
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
  // ---- where a family's block differs from Llama's
  bool qk_norm_all_heads = false;   // olmo2: that norm over all heads together
  bool pre_norms = true, post_norms = false;  // norms before and behind attention and MLP (olmo2: behind only; gemma: both)
  bool unit_offset_norms = false;   // gemma: x (1 + w)
  bool gelu = false;                // gemma: the tanh form of GELU in SiLU's place
  bool fused_projections = false;   // phi3: files hold qkv_proj and gate_up_proj
  double embedding_scale = 1;       // gemma: sqrt(hidden_size)
  double query_scale = 0;           // of the scores; 0 = head_dim^-1/2
  double attention_softcap = 0, logit_softcap = 0;  // gemma2; 0 = none
  std::int64_t sliding_window = 0;  // 0 = none
  std::vector<bool> sliding_layers;  // [num_hidden_layers] which have the window; empty = all
  double rope_local_theta = 0;      // gemma3: of the layers with a window, unscaled; 0 = as the others
  std::int64_t rotary_dim = 0;      // rotated part of the head; 0 = all
  std::optional<LatentAttention> mla;  // head_dim is then qk_nope_head_dim + qk_rope_head_dim
  std::optional<MixtureOfExperts> moe;
  std::int64_t num_mtp_layers = 0;  // multi-token prediction layers behind the last
  std::optional<BlockScales> fp8;   // of the files; dequantised when they are read
  // A ...ForSequenceClassification of one label (a reward model): its files hold score.weight [1,D] and no LM head, and
  // tie_word_embeddings is true here whatever they say, so that the backbone has none either.
  bool scalar_head = false;
  std::vector<TokenId> eos_token_ids;  // generation_config.json wins over config.json
  std::optional<TokenId> bos_token_id, pad_token_id;
  std::string json;        // config.json as read, written back by save (dtype renewed)

  // Throws CheckpointError naming the file, the key, its value and what is supported.
  static ModelConfig from_json(std::string_view config_json, const std::string& name);
  static ModelConfig load(const std::filesystem::path& dir);  // config.json (+ generation_config.json)

  std::int64_t num_parameters() const;  // models.md section 8; without a scalar head and multi-token prediction layers
  std::int64_t num_active_parameters() const;  // those that one token meets, embeddings included
  bool has_experts(std::int64_t layer) const { return moe && moe->layers[static_cast<std::size_t>(layer)]; }
  bool has_window(std::int64_t layer) const {
    return sliding_window > 0 && (sliding_layers.empty() || sliding_layers[static_cast<std::size_t>(layer)]);
  }
  std::int64_t kv_values_per_token() const;  // numbers in the cache, all layers
  double score_scale() const;  // of q k^T; YaRN's mscale_all_dim included for latent attention
  // For paths that serve Llama's block alone: what in this model they lack, one phrase; empty if nothing.
  std::string beyond_llama() const;
  std::string beyond_gpu() const;  // the same of the GPU's rollout and evaluation; its learner knows neither experts nor latents
  // The scorer on this model's backbone, as transformers' AutoModelForSequenceClassification reads it. A pad token that is an end
  // token goes: transformers would look for the score before the end token.
  ModelConfig as_scorer() const;
  // A config.json text for a model made in code (json empty) or the one read.
  std::string to_json(std::string_view torch_dtype) const;
};

const std::vector<std::string>& model_families();  // model_types that are read

// Inverse frequencies [rotated width / 2] after scaling, float64 arithmetic rounded to float32 as HF does. local: of the layers with
// rope_local_theta.
std::vector<float> rope_inverse_frequencies(const ModelConfig&, bool local = false);
// What cos and sin are multiplied by (YaRN); 1 otherwise.
double rope_attention_factor(const ModelConfig&);

}  // namespace r1
