#include "rl/per_sample.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"

namespace r1 {

std::vector<float> at_tokens(const PerSample& values, std::span<const TokenRef> tokens) {
  std::vector<float> out;
  out.reserve(tokens.size());
  for (const TokenRef& t : tokens) out.push_back(values[t.sample][t.position]);
  return out;
}

std::vector<float> pack(const PerSample& values, std::span<const TrainSample> samples) {
  std::vector<float> out;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (values[i].empty())
      out.insert(out.end(), samples[i].tokens.size(), std::numeric_limits<float>::quiet_NaN());
    else
      out.insert(out.end(), values[i].begin(), values[i].end());
  }
  return out;
}

PerSample unpack(const TensorView& from, std::span<const TrainSample> samples) {
  std::size_t tokens = 0;
  for (const TrainSample& s : samples) tokens += s.tokens.size();
  if (from.dtype != DType::kF32 || static_cast<std::size_t>(from.elements()) != tokens)
    throw CheckpointError(message(from.name, " holds ", from.elements(), " values, the rollout has ", tokens,
                                  " tokens: checkpoint and journal are not of one run"));
  PerSample out(samples.size());
  const auto* data = reinterpret_cast<const float*>(from.data);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const std::size_t n = samples[i].tokens.size();
    out[i].resize(n);
    if (n > 0) std::memcpy(out[i].data(), data, n * sizeof(float));
    data += n;
    if (n > 0 && std::isnan(out[i][0])) out[i].clear();
  }
  return out;
}

TensorView float_view(const char* name, const std::vector<float>& values) {
  return {name, DType::kF32, {static_cast<std::int64_t>(values.size())}, reinterpret_cast<const std::byte*>(values.data()), -1};
}

}  // namespace r1
