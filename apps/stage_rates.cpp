#include "apps/stage_rates.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstring>
#include <memory>

#include "core/compute_pool.h"
#include "core/error.h"
#include "core/format.h"
#include "core/memory.h"
#include "kernels/gpu/device.h"
#include "model/activation_bytes.h"
#include "model/model_shapes.h"
#include "rollout/rollout_bench.h"

namespace r1 {
namespace {

// GPUs: fitted to docs/performance.md and to the pipelines in docs/LOG.md.
constexpr double kGiB = 1073741824.0;
const std::array<DeviceRates, 2>& gpu_rates() {
  static const std::array<DeviceRates, 2> rates = {
      DeviceRates{"h100", true, 390e12, 700e12, 80e-9, 36e-6, 2.97e12, 0.004, 0.45e-3, 1.8, 0.65e9, 80 * kGiB},
      DeviceRates{"h200", true, 400e12, 700e12, 70e-9, 33e-6, 4.2e12, 0.004, 0.45e-3, 1.8, 0.65e9, 140 * kGiB},
  };
  return rates;
}
// CPU: shares of what our own product reaches in the same minute (docs/LOG.md, 2026-11-24, quiet machine).
constexpr double kCpuTrainShare = 0.67, kCpuSampleShare = 0.81;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

ModelSize size_of(const ModelConfig& c, const std::string& name) {
  ModelSize m;
  m.name = name;
  m.parameters = static_cast<double>(c.num_parameters());
  m.head = static_cast<double>(c.vocab_size * c.hidden_size);
  m.active = c.tie_word_embeddings ? m.parameters : m.parameters - m.head;
  m.layers = c.num_hidden_layers, m.hidden = c.hidden_size, m.queries = c.num_attention_heads * c.head_dim;
  m.kv_bytes_per_token = 4 * c.num_hidden_layers * c.num_key_value_heads * c.head_dim;
  m.kept_bytes_per_token = kept_bytes_per_token(c, DType::kBF16, false);
  m.recompute_bytes_per_token = kept_bytes_per_token(c, DType::kBF16, true);
  m.config = c;
  return m;
}

std::optional<ModelSize> known_model_size(const std::string& name) {
  std::string plain = lower(name.substr(name.find_last_of('/') + 1));
  for (const char* part : {"-instruct", "-base", "-math", "-it", "-chat"})
    if (const std::size_t at = plain.find(part); at != std::string::npos) plain.erase(at, std::string_view(part).size());
  for (const std::string& shape : model_shape_names())
    if (plain == shape) return size_of(model_shape(shape), name);
  // Beyond the shapes of this program's benchmarks; figures of the models' own reports.
  struct Published { const char* name; double parameters, active; std::int64_t layers, hidden, kv; };
  constexpr std::array kPublished = {
      Published{"deepseek-v3", 671e9, 37e9, 61, 7168, 61 * 576 * 2},  // one latent of 512 and 64 a layer
      Published{"deepseek-r1", 671e9, 37e9, 61, 7168, 61 * 576 * 2},
      Published{"deepseek-math-7b", 6.9e9, 6.5e9, 30, 4096, 4 * 30 * 4096},
      Published{"qwen2.5-14b", 14.8e9, 14.0e9, 48, 5120, 4 * 48 * 1024},
      Published{"qwen2.5-32b", 32.8e9, 32.0e9, 64, 5120, 4 * 64 * 1024},
      Published{"llama-3.3-70b", 70.6e9, 69.5e9, 80, 8192, 4 * 80 * 1024},
  };
  if (plain.ends_with("-7b") && plain.starts_with("deepseek")) plain = "deepseek-math-7b";  // "-math" went above
  for (const Published& p : kPublished)
    if (plain == p.name)
      return ModelSize{name, p.parameters, p.active, 0, p.layers, p.hidden, p.hidden, p.kv, p.layers * (8 * p.hidden + 2 * 6 * p.hidden), p.layers * 4 * p.hidden};
  return std::nullopt;
}

DeviceRates device_rates(const std::string& name, int threads) {
  const std::string wanted = lower(name);
  std::string here;
  if (wanted.empty() && gpu::unavailable_reason().empty()) here = lower(gpu::device_info().name);
  for (const DeviceRates& r : gpu_rates())
    if (wanted == r.name || (!here.empty() && here.find(r.name) != std::string::npos)) return r;
  if (!wanted.empty() && wanted != "cpu")
    throw ConfigError(message("--device ", name, ": no rates are known for it; known are cpu (this machine), h100, h200"));
  ComputePool pool(threads);
  const double product = measure_flops(pool, cpu::Type::kBF16);
  constexpr std::size_t kBytes = std::size_t{96} << 20, kPieces = 4, kPiece = kBytes / kPieces;
  const std::unique_ptr<std::byte[]> memory(new std::byte[kBytes]);  // not given by the system before it is written
  double touched = 1e30;  // seconds of the piece that was quickest
  for (std::size_t i = 0; i < kPieces; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    std::memset(memory.get() + i * kPiece, 1, kPiece);
    touched = std::min(touched, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  DeviceRates r{message("this CPU, ", pool.size(), " threads (", human_count(product), "FLOP/s just now)"), false, kCpuTrainShare * product,
                kCpuSampleShare * product, 0, 0, measure_bandwidth(pool, memory.get(), kBytes), 0.02, 0.45e-3, 0.03, 0.65e9, 0};
  r.memory = static_cast<double>(available_memory());
  r.touch = static_cast<double>(kPiece) / touched;
  r.threads = pool.size();
  return r;
}

ModelSpeeds speeds_of(const ModelSize& m, const DeviceRates& r) {
  const auto layers = static_cast<double>(m.layers);
  const double train = r.gpu ? r.train_flops * std::min(1.0, static_cast<double>(m.hidden) / 900) : r.train_flops;
  const double scores = 4 * layers * static_cast<double>(m.queries);  // operations of attention with one earlier position
  ModelSpeeds s;
  s.prompt_token = 2 * (m.active - m.head) / r.sample_flops;
  s.step = r.gpu ? r.step_layer * layers : 2 * m.active / r.bandwidth;
  s.token = 2 * m.active / r.sample_flops + r.token_layer * layers;
  s.position = r.gpu ? 0 : scores / r.sample_flops;  // a GPU's token_layer and products were fitted to runs with their attention
  s.train_row = 6 * (m.active - m.head) / train, s.train_predictor = 6 * m.head / train;
  s.train_position = r.gpu ? 0 : 3 * scores / train;
  s.update = 30 * m.parameters / r.bandwidth + r.update;
  return s;
}

}  // namespace r1
