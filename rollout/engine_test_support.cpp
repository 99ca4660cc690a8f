#include "rollout/engine_test_support.h"

#include <cmath>
#include <numeric>

#include "core/error.h"

namespace r1::test {
namespace {

void append_utf8(std::string& out, unsigned code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// The printable alphabet of byte-level tokenizers: bytes that are not printable stand at U+0100 and on, in order.
std::string alphabet(unsigned byte) {
  const auto printable = [](unsigned b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  unsigned code = byte;
  if (!printable(byte)) {
    code = 256;
    for (unsigned b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  }
  std::string s;
  append_utf8(s, code);
  return s;
}

std::string quoted(const std::string& s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

std::shared_ptr<const Tokenizer> tiny_tokenizer() {
  std::string vocab;
  for (unsigned b = 0; b < 256; ++b) vocab += message(quoted(alphabet(b)), ":", b, ",");
  for (int i = 0; i < 254; ++i) {
    const char pair[3] = {static_cast<char>('a' + i % 16), static_cast<char>('A' + i / 16), 0};
    vocab += message(quoted(pair), ":", 256 + i, ",");
  }
  vocab.pop_back();
  const std::string json = message(
      R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)",
      R"({"id":510,"content":"<end>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},)",
      R"({"id":511,"content":"<pad>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],)",
      R"("normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},)",
      R"("post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},)",
      R"("model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,)",
      R"("fuse_unk":false,"byte_fallback":false,"vocab":{)", vocab, R"(},"merges":[]}})");
  return Tokenizer::from_json(json, "tiny tokenizer");
}

ModelConfig tiny_config() {
  return ModelConfig::from_json(
      R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,
          "num_key_value_heads":2,"head_dim":16,"intermediate_size":128,"vocab_size":512,"max_position_embeddings":256,
          "rms_norm_eps":1e-5,"rope_theta":10000.0,"tie_word_embeddings":true,"hidden_act":"silu","attention_bias":false,
          "eos_token_id":510,"bos_token_id":510})",
      "tiny model");
}

TinyModel::TinyModel(DType dtype, std::uint64_t seed, int threads) : pool(threads), transformer(tiny_config(), dtype, pool) {
  init_random(transformer.weights(), seed, 0.25f);
  transformer.weights_changed();
}

std::vector<TokenId> random_tokens(std::uint64_t seed, int n) {
  StreamRng rng(seed, 77);
  std::vector<TokenId> out;
  for (int i = 0; i < n; ++i) out.push_back(static_cast<TokenId>(rng.below(kEnd)));
  return out;
}

RolloutRequest request(std::uint64_t number, int prompt_length, int samples, int max_new_tokens, float temperature) {
  RolloutRequest r;
  r.prompt.id = message("prompt-", number);
  r.prompt.tokens = random_tokens(number, prompt_length);
  r.samples = samples;
  r.sampling.temperature = temperature;
  r.sampling.max_new_tokens = max_new_tokens;
  r.sampling.want_entropy = true;
  r.key = {42, 3, number, 0};
  return r;
}

std::vector<std::vector<Completion>> run(RolloutEngine& engine, const std::vector<RolloutRequest>& requests) {
  std::vector<std::vector<Completion>> out;
  for (SampleGroup& g : generate(engine, requests)) out.push_back(std::move(g.completions));
  return out;
}

std::vector<std::vector<Completion>> run(Transformer& model, const LocalEngineOptions& options, const std::vector<RolloutRequest>& requests) {
  LocalEngine engine(model, tiny_tokenizer(), options);
  return run(engine, requests);
}

std::vector<Completion> run_one(Transformer& model, const LocalEngineOptions& options, const RolloutRequest& request) {
  return std::move(run(model, options, {request})[0]);
}

LocalEngineOptions small_engine(const Transformer& model, int blocks) {
  LocalEngineOptions o;
  o.kv_cache_bytes = static_cast<std::int64_t>(model.kv_block_bytes()) * blocks;
  o.poison_kv = true;
  return o;
}

LogprobRows evaluate(Transformer& model, const std::vector<TokenId>& prompt, const std::vector<TokenId>& completion, float temperature) {
  PackedBatch b;
  b.tokens = prompt;
  b.tokens.insert(b.tokens.end(), completion.begin(), completion.end());
  b.positions.resize(b.tokens.size());
  std::iota(b.positions.begin(), b.positions.end(), 0);
  b.sequences = {{0, static_cast<std::int32_t>(b.tokens.size()), -1, -1}};
  for (std::size_t i = 0; i < completion.size(); ++i) {
    b.predictors.push_back(static_cast<std::int32_t>(prompt.size() + i) - 1);
    b.targets.push_back(completion[i]);
  }
  return model.evaluate(b, temperature, true);
}

std::vector<double> next_logits(Transformer& model, const std::vector<TokenId>& tokens) {
  PackedBatch b;
  b.tokens = tokens;
  b.positions.resize(tokens.size());
  std::iota(b.positions.begin(), b.positions.end(), 0);
  b.sequences = {{0, static_cast<std::int32_t>(tokens.size()), -1, -1}};
  const std::int32_t last = static_cast<std::int32_t>(tokens.size()) - 1;
  const std::vector<float> z = model.logits(b, std::span(&last, 1));
  return {z.begin(), z.end()};
}

double chi_square_z(double statistic, double degrees) {
  const double a = 2.0 / (9.0 * degrees);
  return (std::cbrt(statistic / degrees) - (1 - a)) / std::sqrt(a);
}

}  // namespace r1::test
