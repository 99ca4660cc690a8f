#include "model/model_summary.h"

#include <cstdio>

#include "core/error.h"

namespace r1 {
namespace {

std::string grouped(std::int64_t n) {
  std::string digits = std::to_string(n);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

std::string gib(std::int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(bytes) / static_cast<double>(std::int64_t{1} << 30));
  return text;
}

std::string attention_of(const ModelConfig& c) {
  if (c.mla) {
    const LatentAttention& m = *c.mla;
    return message("latent (MLA), ", c.num_attention_heads, " heads, queries ",
                   m.q_lora_rank > 0 ? message("compressed to ", m.q_lora_rank) : std::string("direct"), ", latent ", m.kv_lora_rank, " + rotary key ",
                   m.qk_rope_head_dim, ", head widths ", m.qk_nope_head_dim, " + ", m.qk_rope_head_dim, " and ", m.v_head_dim);
  }
  std::string text = message(c.num_attention_heads, " query heads, ", c.num_key_value_heads, " key and value heads of width ", c.head_dim);
  if (c.sliding_window > 0) {
    std::int64_t layers = 0;
    for (std::int64_t l = 0; l < c.num_hidden_layers; ++l) layers += c.has_window(l);
    text += message(", window of ", c.sliding_window, " in ", layers, " layers");
  }
  return text;
}

std::string rope_of(const ModelConfig& c) {
  const RopeScaling& s = c.rope_scaling;
  const std::string theta = message("theta ", c.rope_theta);
  switch (s.kind) {
    case RopeScaling::Kind::kLinear: return message(theta, ", linear scaling by ", s.factor);
    case RopeScaling::Kind::kLlama3: return message(theta, ", llama3 scaling by ", s.factor, " over ", s.original_max_position_embeddings);
    case RopeScaling::Kind::kYarn: return message(theta, ", YaRN by ", s.factor, " over ", s.original_max_position_embeddings);
    case RopeScaling::Kind::kLong:
      return message(theta, ", LongRoPE over ", s.original_max_position_embeddings, s.long_context ? ", long factors" : ", longer contexts with model.long_context");
    case RopeScaling::Kind::kNone: break;
  }
  return theta;
}

std::string experts_of(const ModelConfig& c) {
  const MixtureOfExperts& m = *c.moe;
  std::int64_t layers = 0;
  for (const bool has : m.layers) layers += has;
  std::string text = message(m.num_experts, " experts of width ", m.intermediate_size, " in ", layers, " of ", c.num_hidden_layers, " layers, ",
                             m.experts_per_token, " a token");
  if (m.shared_intermediate_size > 0) text += message(", shared expert of width ", m.shared_intermediate_size);
  text += m.scoring == MixtureOfExperts::Scoring::kSigmoid ? ", sigmoid scores" : ", softmax scores";
  if (m.num_groups > 1) text += message(", best ", m.top_groups, " of ", m.num_groups, " groups");
  if (m.correction_bias) text += ", correction bias";
  return text;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> model_summary(const ModelConfig& c) {
  std::vector<std::pair<std::string, std::string>> lines;
  const auto add = [&](const char* name, std::string value) { lines.emplace_back(name, std::move(value)); };
  add("family", c.model_type + (c.scalar_head ? ", reward model (one score)" : ""));
  add("shape", message(c.num_hidden_layers, " layers, width ", c.hidden_size, ", MLP ", c.intermediate_size, ", vocabulary ", c.vocab_size,
                       c.tie_word_embeddings ? ", tied head" : ", own head"));
  add("attention", attention_of(c));
  add("positions", message(c.max_position_embeddings, ", ", rope_of(c)));
  if (c.moe) add("experts", experts_of(c));
  if (c.num_mtp_layers > 0) add("prediction layers", message(c.num_mtp_layers, " (multi-token prediction)"));
  if (c.fp8) add("stored as", message("FP8 e4m3 with scales of ", c.fp8->rows, " x ", c.fp8->columns, " blocks, dequantised when read"));
  const std::int64_t parameters = c.num_parameters(), active = c.num_active_parameters();
  add("parameters", grouped(parameters));
  if (active != parameters) add("active a token", grouped(active));
  // Latents are padded to whole vectors of 16 numbers in the cache.
  const std::int64_t values = c.mla ? c.num_hidden_layers * ((c.mla->cached_width() + 15) / 16 * 16) : c.kv_values_per_token();
  const std::int64_t kv = 2 * values;
  add("cache a token", message(grouped(kv), " bytes (", grouped(values), " numbers of bfloat16)"));
  add("memory to sample", message(gib(kSampleBytesPerParameter * parameters), " of weights, and ", gib(kv * c.max_position_embeddings),
                                  " of cache for one sequence of full length"));
  add("memory to train", message(gib(kTrainBytesPerParameter * parameters), " for all parameters (", kTrainBytesPerParameter,
                                 " bytes each), ", gib(kSampleBytesPerParameter * parameters), " and the adapter with LoRA; activations beside"));
  const std::string beyond = c.beyond_gpu();
  add("devices", beyond.empty() ? (c.moe || c.mla || c.post_norms ? "cpu; cuda to sample and evaluate" : "cpu, cuda") : message("cpu; not cuda: ", beyond));
  return lines;
}

}  // namespace r1
