#include "model/gguf_export.h"

#include <atomic>
#include <cctype>
#include <cmath>
#include <cstring>
#include <mutex>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "model/element_convert.h"
#include "model/gguf_header.h"
#include "model/gguf_model.h"
#include "model/gguf_names.h"
#include "model/gguf_quantize.h"
#include "model/gguf_vocabulary.h"

namespace r1 {
namespace {

struct Written { const char* name; GgmlType type; std::uint32_t file_type; };  // file_type: general.file_type of llama.cpp
constexpr Written kWritten[] = {{"f32", GgmlType::kF32, 0}, {"f16", GgmlType::kF16, 1}, {"bf16", GgmlType::kBF16, 32},
                                {"q8_0", GgmlType::kQ8_0, 7}, {"q4_k", GgmlType::kQ4_K, 15}};

void check_config(const ModelConfig& config) {
  const auto refuse = [](const std::string& why) { throw CheckpointError("a GGUF file of this model cannot be written: " + why); };
  if (config.model_type != "llama" && config.model_type != "qwen2" && config.model_type != "qwen3")
    refuse("model_type is " + config.model_type + "; supported are llama, qwen2 and qwen3");
  if (const std::string beyond = config.beyond_llama(); !beyond.empty()) refuse("it has " + beyond);
  if (config.scalar_head) refuse("it is a reward model");
}

GgmlType type_of(const Parameter& p, GgmlType wanted, bool tied) {
  if (p.shape.size() == 1) return GgmlType::kF32;
  if (wanted == GgmlType::kQ4_K && (p.shape.back() % 256 != 0 || p.name == "lm_head.weight" || (tied && p.name == "model.embed_tokens.weight")))
    wanted = GgmlType::kQ8_0;
  if (wanted == GgmlType::kQ8_0 && p.shape.back() % 32 != 0) wanted = GgmlType::kF16;
  return wanted;
}

// Llama 3.1's divisors of the frequencies; empty for a model without that scaling.
std::vector<float> frequency_divisors(const ModelConfig& config) {
  if (config.rope_scaling.kind != RopeScaling::Kind::kLlama3) return {};
  ModelConfig plain = config;
  plain.rope_scaling = {};
  std::vector<float> divisors = rope_inverse_frequencies(plain);
  const std::vector<float> scaled = rope_inverse_frequencies(config);
  for (std::size_t i = 0; i < divisors.size(); ++i) divisors[i] /= scaled[i];
  return divisors;
}

void put_config(const ModelConfig& c, const std::string& name, std::uint32_t file_type, GgufHeader& header) {
  const std::string& arch = c.model_type;
  const auto integer = [&](const char* key, std::int64_t value) { header.integer(arch + "." + key, static_cast<std::uint32_t>(value)); };
  header.text("general.architecture", arch);
  header.text("general.name", name);
  header.integer("general.file_type", file_type);
  header.integer("general.quantization_version", 2);
  integer("block_count", c.num_hidden_layers);
  integer("context_length", c.max_position_embeddings);
  integer("embedding_length", c.hidden_size);
  integer("feed_forward_length", c.intermediate_size);
  integer("attention.head_count", c.num_attention_heads);
  integer("attention.head_count_kv", c.num_key_value_heads);
  integer("attention.key_length", c.head_dim);
  integer("attention.value_length", c.head_dim);
  header.number(arch + ".attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  integer("rope.dimension_count", c.head_dim);
  header.number(arch + ".rope.freq_base", static_cast<float>(c.rope_theta));
  if (c.rope_scaling.kind == RopeScaling::Kind::kLinear) {
    header.text(arch + ".rope.scaling.type", "linear");
    header.number(arch + ".rope.scaling.factor", static_cast<float>(c.rope_scaling.factor));
  }
  if (c.rope_scaling.kind == RopeScaling::Kind::kLlama3)
    integer("rope.scaling.original_context_length", c.rope_scaling.original_max_position_embeddings);
  integer("vocab_size", c.vocab_size);
}

// Converts by rows on all threads and counts what changed.
class Converter {
 public:
  explicit Converter(ComputePool& pool) : pool_(pool) {}

  std::string convert(const std::string& name, const std::vector<float>& values, std::int64_t row, GgmlType type) {
    const GgmlFormat format = *ggml_format(static_cast<std::uint32_t>(type));
    const std::size_t width = static_cast<std::size_t>(row), blocks = width / format.block_elements, bytes = blocks * format.block_bytes;
    const auto rows = static_cast<std::int64_t>(values.size() / width);
    std::string out(static_cast<std::size_t>(rows) * bytes, '\0');
    std::atomic<bool> lost{false};
    pool_.parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> back(width);
      std::int64_t changed = 0;
      double error = 0, square = 0;
      for (std::int64_t r = begin; r < end; ++r) {
        const float* in = values.data() + static_cast<std::size_t>(r) * width;
        auto* to = reinterpret_cast<std::byte*>(out.data() + static_cast<std::size_t>(r) * bytes);
        quantize(type, in, width, to);
        dequantize(type, to, blocks, back.data());
        for (std::size_t i = 0; i < width; ++i) {
          if (!std::isfinite(back[i])) lost = true;
          const double e = double{back[i]} - in[i];
          changed += back[i] != in[i];
          error += e * e, square += double{in[i]} * in[i];
        }
      }
      const std::lock_guard lock(mutex_);
      changed_ += changed, error_ += error, square_ += square;
    });
    if (lost)
      throw CheckpointError(message("tensor ", name, " has a value that ", format.name,
                                    " cannot hold (not finite, or beyond 65504 in a format with half scales); write bf16 or f32"));
    return out;
  }
  std::int64_t changed() const { return changed_; }
  double error() const { return square_ > 0 ? std::sqrt(error_ / square_) : 0; }

 private:
  ComputePool& pool_;
  std::mutex mutex_;
  std::int64_t changed_ = 0;
  double error_ = 0, square_ = 0;
};

std::vector<float> values_of(const WeightStore& weights, const Parameter& p) {
  std::vector<float> values(static_cast<std::size_t>(p.elements));
  convert_elements(weights.dtype(), weights.at(p), DType::kF32, values.data(), values.size());
  return values;
}

}  // namespace

GgmlType parse_gguf_type(const std::string& name) {
  std::string lower, known;
  for (const char c : name) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const Written& w : kWritten) {
    if (lower == w.name) return w.type;
    known += std::string(known.empty() ? "" : ", ") + w.name;
  }
  throw ConfigError(message("GGUF files are not written as ", name, "; there are ", known));
}

GgufExportReport export_gguf(const ModelConfig& config, const WeightStore& weights, const GgufTokenizer& tokenizer, const std::string& name,
                             GgmlType type, const std::filesystem::path& out, ComputePool& pool) {
  check_config(config);
  const Written* written = nullptr;
  for (const Written& w : kWritten)
    if (w.type == type) written = &w;
  R1_CHECK(written != nullptr, "no GGUF file type for ", ggml_type_name(static_cast<std::uint32_t>(type)));
  GgufExportReport report;
  GgufHeader header;
  put_config(config, name, written->file_type, header);
  put_vocabulary(tokenizer, config, header);
  const std::vector<float> divisors = frequency_divisors(config);
  for (const Parameter& p : weights.parameters()) {
    const GgmlType format_type = type_of(p, type, config.tie_word_embeddings);
    const GgmlFormat format = *ggml_format(static_cast<std::uint32_t>(format_type));
    const auto elements = static_cast<std::uint64_t>(p.elements);
    header.tensor(gguf_name(p.name), p.shape, static_cast<std::uint32_t>(format_type), elements / format.block_elements * format.block_bytes);
    ++report.tensors[format.name];
  }
  if (!divisors.empty()) header.tensor("rope_freqs.weight", {static_cast<std::int64_t>(divisors.size())}, 0, divisors.size() * sizeof(float));

  AtomicFile file(out);
  const auto write = [&](const std::string& bytes) {
    file.write(bytes);
    const std::uint64_t rest = bytes.size() % kGgufAlignment;
    if (rest != 0) file.write(std::string(kGgufAlignment - rest, '\0'));
    report.bytes += bytes.size() + (rest != 0 ? kGgufAlignment - rest : 0);
  };
  write(header.bytes());
  Converter converter(pool);
  for (const Parameter& p : weights.parameters())
    write(converter.convert(p.name, to_gguf_rows(values_of(weights, p), p.name, config), p.shape.back(), type_of(p, type, config.tie_word_embeddings)));
  if (!divisors.empty()) write({reinterpret_cast<const char*>(divisors.data()), divisors.size() * sizeof(float)});
  file.commit();
  report.changed = converter.changed();
  report.error = converter.error();
  return report;
}

}  // namespace r1
