#include "rl/lora_adapter.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>

#include "core/error.h"
#include "core/rng.h"
#include "core/spread.h"
#include "kernels/cpu.h"

namespace r1 {
namespace {

constexpr std::string_view kWeight = ".weight";

std::string module_of(const std::string& weight) { return weight.substr(0, weight.size() - kWeight.size()); }
std::string projection_of(const std::string& weight) {
  const std::string module = module_of(weight);
  return module.substr(module.rfind('.') + 1);
}

// Matrices that an adapter may stand beside: not the routers, which choose, and not the multi-token prediction layers.
std::vector<Parameter> linear_weights(ModelConfig config) {
  config.num_mtp_layers = 0;
  const std::set<std::string> left_out = {"embed_tokens", "lm_head", "gate", "shared_expert_gate"};
  std::vector<Parameter> out;
  for (const Parameter& p : parameter_layout(config))
    if (p.shape.size() == 2 && p.name.ends_with(kWeight) && !left_out.contains(projection_of(p.name))) out.push_back(p);
  return out;
}

// Eight sums side by side: the compiler keeps them in vectors, and their order is fixed.
float dot(const float* x, const float* y, std::int64_t n) {
  constexpr int kLanes = 8;
  float sums[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) sums[j] += x[i + j] * y[i + j];
  for (; i < n; ++i) sums[i % kLanes] += x[i] * y[i];
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

}  // namespace

double LoraOptions::scale() const { return alpha / (rslora ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank)); }

void LoraAdapter::lay_out(const std::vector<Parameter>& weights) {
  std::int64_t offset = 0;
  const auto add = [&](const Parameter& weight, const char* part, std::int64_t rows, std::int64_t columns) {
    parameters_.push_back({"base_model.model." + module_of(weight.name) + part, {rows, columns}, offset, rows * columns});
    offset += rows * columns;
    return parameters_.back().offset;
  };
  for (const Parameter& p : weights) {
    LoraPair pair{p, p.shape[0], p.shape[1], 0, 0, columns()};
    pair.a = add(p, ".lora_A.weight", options_.rank, pair.in);
    pair.b = add(p, ".lora_B.weight", pair.out, options_.rank);
    pairs_.push_back(std::move(pair));
  }
  values_.assign(static_cast<std::size_t>(offset), 0.f);
}

LoraAdapter::LoraAdapter(const ModelConfig& config, const LoraOptions& options) : options_(options) {
  const std::vector<Parameter> linear = linear_weights(config);
  const bool all = options.targets.size() == 1 && options.targets[0] == "all-linear";
  std::set<std::string> known;
  for (const Parameter& p : linear) known.insert(projection_of(p.name));
  for (const std::string& target : options.targets) {
    if (all || known.contains(target)) continue;
    std::string names;
    for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
    throw ConfigError(message("lora.targets: the model has no ", target, "; it can be all-linear or of ", names));
  }
  std::vector<Parameter> chosen;
  for (const Parameter& p : linear)
    if (all || std::find(options.targets.begin(), options.targets.end(), projection_of(p.name)) != options.targets.end()) chosen.push_back(p);
  lay_out(chosen);
  for (std::size_t k = 0; k < pairs_.size(); ++k) {
    constexpr std::uint64_t kStream = 0x6c6f7261ull;  // "lora": apart from every other use of the seed
    StreamRng rng(options.seed, mix64(kStream ^ (k << 32)));
    const double bound = 1 / std::sqrt(static_cast<double>(pairs_[k].in));
    for (std::int64_t i = 0; i < options.rank * pairs_[k].in; ++i)
      values_[static_cast<std::size_t>(pairs_[k].a + i)] = static_cast<float>((2 * rng.uniform() - 1) * bound);
  }
}

void LoraAdapter::set_b_to_zero() {
  for (const LoraPair& p : pairs_) std::fill_n(values_.begin() + p.b, p.out * options_.rank, 0.f);
}

void LoraAdapter::merge(const LoraPair& pair, std::span<const float> values, const std::byte* base, DType dtype, bool spread, std::byte* out,
                        ComputePool& pool) const {
  R1_CHECK(dtype == DType::kF32 || dtype == DType::kBF16, "a base of type ", safetensors_name(dtype));
  const float scale = static_cast<float>(options_.scale());
  const float *a = values.data() + pair.a, *b = values.data() + pair.b;
  const std::int64_t rank = options_.rank, n = pair.in;
  pool.parallel_for(pair.out, 8, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(n));
    for (std::int64_t o = begin; o < end; ++o) {
      std::fill(row.begin(), row.end(), 0.f);
      for (std::int64_t k = 0; k < rank; ++k) {
        const float factor = scale * b[o * rank + k];
        const float* from = a + k * n;
        for (std::int64_t i = 0; i < n; ++i) row[static_cast<std::size_t>(i)] += factor * from[i];
      }
      if (dtype == DType::kF32) {
        const auto* w = reinterpret_cast<const float*>(base) + o * n;
        auto* to = reinterpret_cast<float*>(out) + o * n;
        for (std::int64_t i = 0; i < n; ++i) to[i] = w[i] + row[static_cast<std::size_t>(i)];
        continue;
      }
      const auto* w = reinterpret_cast<const std::uint16_t*>(base) + o * n;
      auto* to = reinterpret_cast<std::uint16_t*>(out) + o * n;
      for (std::int64_t i = 0; i < n; ++i) {
        std::uint32_t bits = std::uint32_t{w[i]} << 16;
        if (spread) bits = spread_in_cell(bits, static_cast<std::uint64_t>(pair.weight.offset + o * n + i));
        const auto sum = std::bit_cast<std::uint32_t>(std::bit_cast<float>(bits) + row[static_cast<std::size_t>(i)]);
        const bool finite = (sum & 0x7F800000u) != 0x7F800000u;  // to nearest, ties to even; a NaN or Inf stays one
        to[i] = static_cast<std::uint16_t>((finite ? sum + 0x7FFFu + ((sum >> 16) & 1u) : sum) >> 16);
      }
    }
  });
}

void LoraAdapter::merge_into(WeightStore& store, ComputePool& pool) const {
  for (const LoraPair& p : pairs_) {
    std::byte* data = store.at(store.find(p.weight.name));
    merge(p, values_, data, store.dtype(), false, data, pool);
  }
}

void LoraAdapter::project(std::span<const float> gradient, std::span<const float> values, std::span<const float> mask, std::span<float> out,
                          ComputePool& pool) const {
  R1_CHECK(out.size() == values_.size(), out.size(), " gradients of ", values_.size(), " values");
  const float scale = static_cast<float>(options_.scale());
  const std::int64_t rank = options_.rank;
  for (const LoraPair& p : pairs_) {
    const float *dw = gradient.data() + p.weight.offset, *a = values.data() + p.a, *b = values.data() + p.b;
    const float* factor_of = mask.empty() ? nullptr : mask.data() + p.column;
    float *da = out.data() + p.a, *db = out.data() + p.b;
    pool.parallel_for(p.out, 8, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t o = begin; o < end; ++o)
        for (std::int64_t k = 0; k < rank; ++k) db[o * rank + k] += scale * dot(dw + o * p.in, a + k * p.in, p.in);
    });
    pool.parallel_for(p.in, 64, [&](std::int64_t begin, std::int64_t end) {  // columns: each sum runs over the rows in order
      std::vector<float> sums(static_cast<std::size_t>(end - begin));
      for (std::int64_t k = 0; k < rank; ++k) {
        std::fill(sums.begin(), sums.end(), 0.f);
        for (std::int64_t o = 0; o < p.out; ++o) {
          const float factor = scale * b[o * rank + k];
          for (std::int64_t i = begin; i < end; ++i) sums[static_cast<std::size_t>(i - begin)] += factor * dw[o * p.in + i];
        }
        for (std::int64_t i = begin; i < end; ++i)
          da[k * p.in + i] += factor_of ? factor_of[i] * sums[static_cast<std::size_t>(i - begin)] : sums[static_cast<std::size_t>(i - begin)];
      }
    });
  }
}

}  // namespace r1
