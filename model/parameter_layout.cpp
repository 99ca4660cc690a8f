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

void add_layer(Layout& layout, const ModelConfig& c, std::int64_t index) {
  const std::string layer = "model.layers." + std::to_string(index) + ".", attention = layer + "self_attn.";
  const std::int64_t d = c.hidden_size, f = c.intermediate_size, h = c.head_dim;
  const std::int64_t q = c.num_attention_heads * h, kv = c.num_key_value_heads * h;
  layout.add_alone(layer + "input_layernorm.weight", {d});
  layout.start_group();
  layout.add(attention + "q_proj.weight", {q, d});
  layout.add(attention + "k_proj.weight", {kv, d});
  layout.add(attention + "v_proj.weight", {kv, d});
  if (c.qkv_bias) {
    layout.start_group();
    layout.add(attention + "q_proj.bias", {q});
    layout.add(attention + "k_proj.bias", {kv});
    layout.add(attention + "v_proj.bias", {kv});
  }
  if (c.qk_norm) {
    layout.add_alone(attention + "q_norm.weight", {h});
    layout.add_alone(attention + "k_norm.weight", {h});
  }
  layout.add_alone(attention + "o_proj.weight", {d, q});
  if (c.o_bias) layout.add_alone(attention + "o_proj.bias", {d});
  layout.add_alone(layer + "post_attention_layernorm.weight", {d});
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
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) add_layer(layout, config, i);
  layout.add_alone("model.norm.weight", {config.hidden_size});
  if (!config.tie_word_embeddings) layout.add_alone("lm_head.weight", {config.vocab_size, config.hidden_size});
  return layout.take();
}

}  // namespace r1
