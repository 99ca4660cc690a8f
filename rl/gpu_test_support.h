// What the tests of the learner on the GPU share.
#pragma once

#include "model/model_config.h"

namespace r1::test {

inline ModelConfig small_config() {
  ModelConfig c;
  c.model_type = "qwen2";
  c.hidden_size = 128, c.num_hidden_layers = 2, c.num_attention_heads = 4, c.num_key_value_heads = 2, c.head_dim = 64;
  c.intermediate_size = 256, c.vocab_size = 503, c.max_position_embeddings = 512;
  c.rms_norm_eps = 1e-5f;
  c.tie_word_embeddings = true, c.qkv_bias = true;
  return c;
}

}  // namespace r1::test
