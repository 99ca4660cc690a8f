#include "apps/stage_rates.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "core/compute_pool.h"
#include "core/cpu_time.h"
#include "core/error.h"
#include "core/format.h"
#include "core/memory.h"
#include "kernels/gpu/device.h"
#include "model/activation_bytes.h"
#include "model/model_shapes.h"
#include "rl/zeroed_array.h"
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

constexpr std::size_t kTouched = std::size_t{128} << 20, kWritten = std::size_t{48} << 20;
constexpr int kWaits = 4;
// At most so many bytes a second: gigabytes are given and written more slowly than the few that are tried here (eleven runs of a 135M model, docs/LOG.md).
constexpr double kTouch = 0.9e9, kDisk = 0.95e9;

double processor_seconds(const std::function<void()>& f) {
  const double begin = process_cpu_seconds();
  f();
  return process_cpu_seconds() - begin;
}

struct DiskRates {
  double bytes = kDisk;   // a second of the processors'
  double sync = 0;        // seconds by the clock
};

// Of the file system that this command runs in: a file without a name, which is gone with its descriptor.
DiskRates disk_rates() {
  DiskRates out;
  const int file = ::open(".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) return out;
  const std::vector<char> block(std::size_t{1} << 20, 1);
  bool whole = true;
  const auto put = [&](std::size_t bytes) { whole = whole && ::write(file, block.data(), bytes) == static_cast<ssize_t>(bytes); };
  const double seconds = processor_seconds([&] {
    for (std::size_t done = 0; done < kWritten; done += block.size()) put(block.size());
    whole = whole && ::fsync(file) == 0;
  });
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kWaits; ++i) {
    put(4096);
    whole = whole && ::fsync(file) == 0;
  }
  if (whole && seconds > 0) out.bytes = std::min(kDisk, static_cast<double>(kWritten) / seconds);
  if (whole) out.sync = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / kWaits;
  ::close(file);
  return out;
}

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

double lora_elements(const ModelConfig& c, const LoraOptions& o) {
  const std::int64_t d = c.hidden_size, q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim, f = c.intermediate_size;
  const std::array<std::pair<const char*, std::int64_t>, 7> widths = {{{"q_proj", d + q}, {"k_proj", d + kv}, {"v_proj", d + kv}, {"o_proj", q + d},
                                                                      {"gate_proj", d + f}, {"up_proj", d + f}, {"down_proj", f + d}}};
  const auto chosen = [&](const char* name) {
    return std::any_of(o.targets.begin(), o.targets.end(), [&](const std::string& t) { return t == name || t == "all-linear"; });
  };
  std::int64_t sum = 0;
  for (const auto& [name, width] : widths) sum += chosen(name) ? width : 0;
  return static_cast<double>(c.num_hidden_layers * o.rank * sum);
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
      return ModelSize{name, p.parameters, p.active, 0, p.layers, p.hidden, p.hidden, p.kv, p.layers * (8 * p.hidden + 2 * 6 * p.hidden), p.layers * 4 * p.hidden, ModelSize{}.side_bytes, {}};
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
  const ZeroedArray memory(kTouched / sizeof(float));  // not given by the system before it is written
  const double touched = processor_seconds([&] { std::memset(memory.data(), 1, kTouched); });
  const DiskRates disk = disk_rates();
  DeviceRates r{message("this CPU, ", pool.size(), " threads (", human_count(product), "FLOP/s just now)"), false, kCpuTrainShare * product,
                kCpuSampleShare * product, 0, 0, measure_bandwidth(pool, reinterpret_cast<const std::byte*>(memory.data()), kTouched), 0.02, 0.03e-3, 0.03, disk.bytes, 0};
  r.memory = static_cast<double>(available_memory());
  r.touch = std::min(kTouch, static_cast<double>(kTouched) / std::max(1e-6, touched));
  r.threads = pool.size(), r.sync = disk.sync;
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
  if (r.gpu) return s;
  const double threads = std::max(1, r.threads);
  for (double* v : {&s.prompt_token, &s.step, &s.token, &s.position, &s.train_row, &s.train_predictor, &s.train_position, &s.update}) *v *= threads;
  s.sample_clock = s.train_clock = 1 / threads;
  return s;
}

}  // namespace r1
