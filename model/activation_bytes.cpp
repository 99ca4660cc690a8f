#include "model/activation_bytes.h"

namespace r1 {

std::int64_t kept_bytes_per_token(const ModelConfig& c, DType dtype, bool recompute) {
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  const std::int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  std::int64_t layer = 4 * c.hidden_size;  // its input
  if (!recompute) {
    layer += 4 * c.hidden_size + 8 + 4 * c.num_attention_heads + size * (2 * q + 2 * kv + 2 * c.intermediate_size);
    if (c.qk_norm) layer += size * (q + kv) + 4 * (c.num_attention_heads + c.num_key_value_heads);
  }
  return c.num_hidden_layers * layer;
}

}  // namespace r1
