#include "apps/gguf_out.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <vector>

#include "apps/runtime.h"
#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "model/gguf_model.h"
#include "model/transformer.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

// Prose, arithmetic, code, two scripts, what chat templates write: each kind of token that a tokenizer cuts in its own way.
constexpr const char* kSample =
    "What is 37 + 45? Let's see: 30 + 40 = 70 and 7 + 5 = 12, so the answer is \\boxed{82}.\n"
    "def add(a, b):\n    return a + b  # 1234567\n\nThe capital of France isn't Rome.\t 今天天气很好。 Überraschung!\n";

std::string tokenizer_json(const fs::path& source) {
  if (is_gguf(source)) return GgufModel(source).side_files().at("tokenizer.json");
  return read_file(source / "tokenizer.json");
}

struct Logits {
  std::int64_t vocab = 0;
  std::vector<float> values;  // [T][vocab]
};

Logits logits_of(LoadedModel model, const std::vector<TokenId>& tokens, ComputePool& pool) {
  Transformer transformer(model.config, DType::kF32, pool);
  transformer.weights().load(model.weights.snapshot(0));
  { const LoadedModel gone = std::move(model); }
  transformer.weights_changed();
  PackedBatch batch;
  batch.tokens = tokens;
  batch.positions.resize(tokens.size());
  std::iota(batch.positions.begin(), batch.positions.end(), 0);
  batch.sequences.push_back({0, static_cast<std::int32_t>(tokens.size()), -1, -1});
  return {transformer.config().vocab_size, transformer.logits(batch, batch.positions)};
}

struct Difference {
  double divergence = 0, largest = 0;  // mean KL, nats; of single logits
  std::int64_t rows = 0, same_choice = 0;
};

double log_sum_exp(const float* z, std::int64_t n) {
  const float most = *std::max_element(z, z + n);
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(double{z[i]} - most);
  return most + std::log(sum);
}

Difference compare(const Logits& model, const Logits& file) {
  Difference out;
  out.rows = static_cast<std::int64_t>(model.values.size()) / model.vocab;
  for (std::int64_t r = 0; r < out.rows; ++r) {
    const float *a = model.values.data() + r * model.vocab, *b = file.values.data() + r * model.vocab;
    const double za = log_sum_exp(a, model.vocab), zb = log_sum_exp(b, model.vocab);
    double divergence = 0;
    for (std::int64_t i = 0; i < model.vocab; ++i) {
      const double la = a[i] - za, lb = b[i] - zb;
      divergence += std::exp(la) * (la - lb);
      out.largest = std::max(out.largest, std::fabs(double{a[i]} - b[i]));
    }
    out.divergence += std::max(0.0, divergence) / static_cast<double>(out.rows);
    out.same_choice += std::max_element(a, a + model.vocab) - a == std::max_element(b, b + model.vocab) - b;
  }
  return out;
}

void check_tokenizer(const Tokenizer& model, const Tokenizer& file) {
  for (const bool special : {false, true})
    if (model.encode(kSample, special) != file.encode(kSample, special)) throw CheckpointError("the file's tokenizer cuts a sample text another way than the model's");
  if (model.chat_template() != file.chat_template()) throw CheckpointError("the file's chat template is not the model's");
}

void check(const Logits& model, const Tokenizer& tokenizer, const std::vector<TokenId>& tokens, const GgufExportReport& written, const GgufOutOptions& options,
           ComputePool& pool) {
  check_tokenizer(tokenizer, *load_tokenizer(options.out));
  const Difference d = compare(model, logits_of(load_model(options.out, DType::kF32), tokens, pool));
  const double limit = written.changed == 0 ? 0 : gguf_divergence_limit(options.type);
  const std::string seen = message("mean KL ", human_number(d.divergence, 3), " nats (limit ", human_number(limit, 3), "), largest difference of a logit ",
                                   human_number(d.largest, 3), ", the same first choice at ", d.same_choice, " of ", d.rows, " tokens");
  if (!(limit == 0 ? d.largest == 0 : d.divergence <= limit)) throw CheckpointError(message("the file's logits are not the model's: ", seen));
  std::printf("check     read back: %s\n", d.largest == 0 ? message("logits equal to the bit at ", d.rows, " tokens").c_str() : seen.c_str());
}

}  // namespace

double gguf_divergence_limit(GgmlType type) {
  switch (type) {
    case GgmlType::kF32: return 0;
    case GgmlType::kF16: return 1e-4;
    case GgmlType::kBF16: return 5e-3;
    case GgmlType::kQ8_0: return 0.02;
    default: return 0.3;
  }
}

void write_gguf(LoadedModel model, const GgufOutOptions& options, ComputePool& pool) {
  if (fs::exists(options.out) && !options.overwrite) throw IoError(message(options.out.string(), " exists; --force replaces it"));
  const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(options.source);
  GgufTokenizer carried{tokenizer_json(options.source), tokenizer->eos(), tokenizer->pad(), tokenizer->chat_template()};
  const std::string name = is_gguf(options.source) ? options.source.stem().string() : fs::weakly_canonical(options.source).filename().string();
  const GgufExportReport written = export_gguf(model.config, model.weights, carried, name, options.type, options.out, pool);
  std::string formats;
  for (const auto& [format, count] : written.tensors) formats += message(formats.empty() ? "" : ", ", count, " ", format);
  std::printf("written   %s: %s, %s parameters, %s, tensors: %s\n", options.out.c_str(), model.config.model_type.c_str(),
              with_commas(model.config.num_parameters()).c_str(), human_bytes(written.bytes).c_str(), formats.c_str());
  std::printf("weights   %s\n", written.changed == 0 ? "all exact" : message(with_commas(written.changed), " rounded, relative error ", human_number(written.error, 3)).c_str());
  if (!options.verify) return;
  try {
    const std::vector<TokenId> tokens = tokenizer->encode(kSample, true);
    const Logits before = logits_of(std::move(model), tokens, pool);
    check(before, *tokenizer, tokens, written, options, pool);
  } catch (...) {
    std::error_code ignored;
    fs::remove(options.out, ignored);
    throw;
  }
}

}  // namespace r1
