#include "model/model_shapes.h"

#include "core/error.h"
#include "core/suggest.h"

namespace r1 {
namespace {

struct Shape {
  const char *name, *type;
  std::int64_t d, layers, heads, kv, hd, f, v;
  bool tied;
  double theta;
};
constexpr Shape kShapes[] = {
    {"smollm2-135m", "llama", 576, 30, 9, 3, 64, 1536, 49152, true, 1e5},
    {"qwen2.5-0.5b", "qwen2", 896, 24, 14, 2, 64, 4864, 151936, true, 1e6},
    {"qwen3-0.6b", "qwen3", 1024, 28, 16, 8, 128, 3072, 151936, true, 1e6},
    {"qwen2.5-1.5b", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, true, 1e6},
    {"qwen2.5-7b", "qwen2", 3584, 28, 28, 4, 128, 18944, 152064, false, 1e6},
    {"llama-3.1-8b", "llama", 4096, 32, 32, 8, 128, 14336, 128256, false, 5e5},
};

}  // namespace

const std::vector<std::string>& model_shape_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const Shape& s : kShapes) out.emplace_back(s.name);
    return out;
  }();
  return names;
}

ModelConfig model_shape(const std::string& name) {
  for (const Shape& s : kShapes) {
    if (name != s.name) continue;
    ModelConfig c;
    c.model_type = s.type;
    c.hidden_size = s.d, c.num_hidden_layers = s.layers, c.num_attention_heads = s.heads, c.num_key_value_heads = s.kv, c.head_dim = s.hd;
    c.intermediate_size = s.f, c.vocab_size = s.v, c.max_position_embeddings = 32768, c.rope_theta = s.theta;
    c.tie_word_embeddings = s.tied;
    c.qkv_bias = c.model_type == "qwen2", c.qk_norm = c.model_type == "qwen3";
    c.eos_token_ids = {0};
    return c;
  }
  throw ConfigError(message("there is no model shape '", name, "'; known are ", join_names(model_shape_names())));
}

}  // namespace r1
