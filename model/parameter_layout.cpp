#include <algorithm>
#include <string>
#include <utility>

#include "model/weight_store.h"

namespace r1 {
namespace {

class Layout {
 public:
  void start_group() { next_ = (next_ + 31) / 32 * 32; }
  void add(std::string name, std::vector<std::int64_t> shape) {
    std::int64_t elements = 1;
    for (const auto s : shape) elements *= s;
    parameters_.push_back({std::move(name), std::move(shape), next_, elements});
    next_ += elements;
  }
  void add_alone(std::string name, std::vector<std::int64_t> shape) {
    start_group();
    add(std::move(name), std::move(shape));
  }
  std::vector<Parameter> take() { return std::move(parameters_); }

 private:
  std::vector<Parameter> parameters_;
  std::int64_t next_ = 0;
};

std::string layer_name(std::int64_t index) { return "model.layers." + std::to_string(index) + "."; }

// gate, up and down of one MLP, by its family's names.
void add_mlp(Layout& layout, const std::string& prefix, std::int64_t d, std::int64_t f, const char* gate = "gate_proj",
             const char* up = "up_proj", const char* down = "down_proj") {
  layout.start_group();
  layout.add(prefix + gate + ".weight", {f, d});
  layout.add(prefix + up + ".weight", {f, d});
  layout.add_alone(prefix + down + ".weight", {d, f});
}

void add_experts(Layout& layout, const ModelConfig& c, const std::string& layer) {
  const MixtureOfExperts& moe = *c.moe;
  const bool mixtral = moe.names == MixtureOfExperts::Names::kMixtral;
  const std::string mlp = layer + (mixtral ? "block_sparse_moe." : "mlp.");
  const std::int64_t d = c.hidden_size;
  layout.add_alone(mlp + "gate.weight", {moe.num_experts, d});
  for (std::int64_t e = moe.first_held; e < moe.first_held + moe.held(); ++e) {
    const std::string expert = mlp + "experts." + std::to_string(e) + ".";
    if (mixtral) add_mlp(layout, expert, d, moe.intermediate_size, "w1", "w3", "w2");
    else add_mlp(layout, expert, d, moe.intermediate_size);
  }
  if (moe.shared_intermediate_size > 0)
    add_mlp(layout, mlp + (moe.shared_gate ? "shared_expert." : "shared_experts."), d, moe.shared_intermediate_size);
  if (moe.shared_gate) layout.add_alone(mlp + "shared_expert_gate.weight", {1, d});
}

void add_latent_attention(Layout& layout, const ModelConfig& c, const std::string& attention) {
  const LatentAttention& m = *c.mla;
  const std::int64_t d = c.hidden_size, heads = c.num_attention_heads, q = heads * (m.qk_nope_head_dim + m.qk_rope_head_dim);
  layout.start_group();
  layout.add(attention + (m.q_lora_rank > 0 ? "q_a_proj.weight" : "q_proj.weight"), {m.q_lora_rank > 0 ? m.q_lora_rank : q, d});
  layout.add(attention + "kv_a_proj_with_mqa.weight", {m.cached_width(), d});
  if (m.q_lora_rank > 0) {
    layout.add_alone(attention + "q_a_layernorm.weight", {m.q_lora_rank});
    layout.add_alone(attention + "q_b_proj.weight", {q, m.q_lora_rank});
  }
  layout.add_alone(attention + "kv_a_layernorm.weight", {m.kv_lora_rank});
  layout.add_alone(attention + "kv_b_proj.weight", {heads * (m.qk_nope_head_dim + m.v_head_dim), m.kv_lora_rank});
  layout.add_alone(attention + "o_proj.weight", {d, heads * m.v_head_dim});
}

void add_attention(Layout& layout, const ModelConfig& c, const std::string& attention) {
  const std::int64_t d = c.hidden_size, h = c.head_dim, q = c.num_attention_heads * h, kv = c.num_key_value_heads * h;
  layout.start_group();
  if (c.fused_projections) {
    layout.add(attention + "qkv_proj.weight", {q + 2 * kv, d});
  } else {
    layout.add(attention + "q_proj.weight", {q, d});
    layout.add(attention + "k_proj.weight", {kv, d});
    layout.add(attention + "v_proj.weight", {kv, d});
  }
  if (c.qkv_bias) {
    layout.start_group();
    layout.add(attention + "q_proj.bias", {q});
    layout.add(attention + "k_proj.bias", {kv});
    layout.add(attention + "v_proj.bias", {kv});
  }
  if (c.qk_norm) {
    layout.add_alone(attention + "q_norm.weight", {c.qk_norm_all_heads ? q : h});
    layout.add_alone(attention + "k_norm.weight", {c.qk_norm_all_heads ? kv : h});
  }
  layout.add_alone(attention + "o_proj.weight", {d, q});
  if (c.o_bias) layout.add_alone(attention + "o_proj.bias", {d});
}

// `experts`: the layer has a mixture of experts.
void add_layer(Layout& layout, const ModelConfig& c, std::int64_t index, bool experts) {
  const std::string layer = layer_name(index), attention = layer + "self_attn.";
  const std::int64_t d = c.hidden_size, f = c.intermediate_size;
  if (c.pre_norms) layout.add_alone(layer + "input_layernorm.weight", {d});
  if (c.mla) add_latent_attention(layout, c, attention);
  else add_attention(layout, c, attention);
  layout.add_alone(layer + "post_attention_layernorm.weight", {d});
  if (c.pre_norms && c.post_norms) layout.add_alone(layer + "pre_feedforward_layernorm.weight", {d});
  if (c.post_norms) layout.add_alone(layer + "post_feedforward_layernorm.weight", {d});
  if (experts) {
    add_experts(layout, c, layer);
    return;
  }
  if (c.fused_projections) {
    layout.add_alone(layer + "mlp.gate_up_proj.weight", {2 * f, d});
    layout.add_alone(layer + "mlp.down_proj.weight", {d, f});
    return;
  }
  layout.start_group();
  layout.add(layer + "mlp.gate_proj.weight", {f, d});
  layout.add(layer + "mlp.up_proj.weight", {f, d});
  if (c.mlp_bias) {
    layout.start_group();
    layout.add(layer + "mlp.gate_proj.bias", {f});
    layout.add(layer + "mlp.up_proj.bias", {f});
  }
  layout.add_alone(layer + "mlp.down_proj.weight", {d, f});
  if (c.mlp_bias) layout.add_alone(layer + "mlp.down_proj.bias", {d});
}

}  // namespace

std::vector<Parameter> parameter_layout(const ModelConfig& config) {
  Layout layout;
  layout.add_alone("model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) add_layer(layout, config, i, config.has_experts(i));
  layout.add_alone("model.norm.weight", {config.hidden_size});
  if (!config.tie_word_embeddings) layout.add_alone("lm_head.weight", {config.vocab_size, config.hidden_size});
  // A multi-token prediction layer: its norms, its projection of [embedding ; hidden], a layer of the last one's kind, its own last norm.
  // Embedding and head are the model's. Names as in the released files.
  for (std::int64_t i = 0; i < config.num_mtp_layers; ++i) {
    const std::int64_t index = config.num_hidden_layers + i, d = config.hidden_size;
    layout.add_alone(layer_name(index) + "enorm.weight", {d});
    layout.add_alone(layer_name(index) + "hnorm.weight", {d});
    layout.add_alone(layer_name(index) + "eh_proj.weight", {d, 2 * d});
    add_layer(layout, config, index, config.has_experts(config.num_hidden_layers - 1));
    layout.add_alone(layer_name(index) + "shared_head.norm.weight", {d});
  }
  return layout.take();
}

std::vector<Parameter> buffer_layout(const ModelConfig& config) {
  Layout layout;
  if (!config.moe || !config.moe->correction_bias) return {};
  for (std::int64_t l = 0; l < config.num_hidden_layers + config.num_mtp_layers; ++l)
    if (config.has_experts(std::min(l, config.num_hidden_layers - 1)))
      layout.add_alone(layer_name(l) + "mlp.gate.e_score_correction_bias", {config.moe->num_experts});
  return layout.take();
}

}  // namespace r1
