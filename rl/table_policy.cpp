#include "rl/table_policy.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/digest.h"
#include "core/error.h"

namespace r1 {
namespace {

std::size_t at(std::int32_t vocab, TokenId context) {
  return static_cast<std::size_t>(context) * static_cast<std::size_t>(vocab);
}

double entropy_of(const std::vector<double>& log_p) {
  double h = 0;
  for (double lp : log_p) h -= std::exp(lp) * lp;
  return h;
}

}  // namespace

TablePolicy::TablePolicy(std::int32_t vocab, ComputePool& pool)
    : vocab_(vocab),
      parameters_{{"table", {vocab, vocab}, 0, std::int64_t{vocab} * vocab}},
      table_(static_cast<std::size_t>(vocab) * static_cast<std::size_t>(vocab), 0.f),
      arena_(live(), pool) {}

LiveWeights TablePolicy::live() {
  return {parameters_, reinterpret_cast<std::byte*>(table_.data()), DType::kF32,
          static_cast<std::int64_t>(table_.size())};
}

std::vector<double> TablePolicy::log_distribution(TokenId context, float temperature) const {
  R1_CHECK(context >= 0 && context < vocab_, "token ", context, " is outside the table's vocabulary of ", vocab_);
  const float* row = table_.data() + at(vocab_, context);
  std::vector<double> z(row, row + vocab_);
  double top = z[0] / temperature;
  for (double& v : z) v /= temperature, top = std::max(top, v);
  double sum = 0;
  for (double v : z) sum += std::exp(v - top);
  const double logsumexp = top + std::log(sum);
  for (double& v : z) v -= logsumexp;
  return z;
}

LogprobRows TablePolicy::evaluate(const PackedBatch& batch, float temperature, bool want_entropies) {
  LogprobRows out;
  for (std::size_t i = 0; i < batch.targets.size(); ++i) {
    const auto log_p = log_distribution(batch.tokens[static_cast<std::size_t>(batch.predictors[i])], temperature);
    out.logprobs.push_back(static_cast<float>(log_p[static_cast<std::size_t>(batch.targets[i])]));
    if (want_entropies) out.entropies.push_back(static_cast<float>(entropy_of(log_p)));
  }
  return out;
}

LogprobRows TablePolicy::forward(const PackedBatch& batch, float temperature, bool want_entropies) {
  batch_ = batch;
  temperature_ = temperature;
  return evaluate(batch, temperature, want_entropies);
}

void TablePolicy::backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) {
  for (std::size_t i = 0; i < batch_.targets.size(); ++i) {
    const TokenId context = batch_.tokens[static_cast<std::size_t>(batch_.predictors[i])];
    const auto log_p = log_distribution(context, temperature_);
    const double h = d_entropies.empty() ? 0 : entropy_of(log_p);
    float* grad = arena_.gradient().data() + at(vocab_, context);
    for (std::int32_t j = 0; j < vocab_; ++j) {
      const double p = std::exp(log_p[static_cast<std::size_t>(j)]);
      double d = d_logprobs[i] * ((j == batch_.targets[i]) - p);
      if (!d_entropies.empty()) d -= d_entropies[i] * p * (log_p[static_cast<std::size_t>(j)] + h);
      grad[j] += static_cast<float>(d / temperature_);
    }
  }
}

WeightSnapshot TablePolicy::weights(WeightVersion version) const {
  return {version,
          {{"table", DType::kF32, {vocab_, vocab_}, reinterpret_cast<const std::byte*>(table_.data()), -1}},
          nullptr};
}

void TablePolicy::load(const WeightSnapshot& weights) {
  if (weights.tensors.size() != 1 || weights.tensors[0].name != "table" ||
      weights.tensors[0].bytes() != table_.size() * 4)
    throw CheckpointError(message("these weights are no table of ", vocab_, " tokens"));
  const auto* from = reinterpret_cast<const float*>(weights.tensors[0].data);
  if (from != table_.data()) std::copy(from, from + table_.size(), table_.begin());
}

WeightDigest TablePolicy::digest() const {
  return digest_of({reinterpret_cast<const char*>(table_.data()), table_.size() * sizeof(float)});
}

void TableEngine::load_weights(const WeightSnapshot& snapshot) {
  if (own_) own_->load(snapshot);
  version_ = snapshot.version;
}

RequestId TableEngine::submit(RolloutRequest request) {
  const std::lock_guard lock(mutex_);
  queue_.push_back({next_, std::move(request)});
  return next_++;
}

void TableEngine::cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  for (Pending& p : queue_)
    if (p.id == id) p.cancelled = true;
}

Completion TableEngine::sample(const RolloutRequest& request, int sample) const {
  const SamplingOptions& options = request.sampling;
  Completion c;
  c.stop = StopReason::kLength;
  c.version_runs = {{0, version_, policy_.digest()}};
  DrawKey key = request.key;
  key.sample += static_cast<std::uint32_t>(sample);
  TokenId context = request.prompt.tokens.back();
  for (int t = 0; t < options.max_new_tokens; ++t) {
    const auto log_p = policy_.log_distribution(context, options.temperature == 0 ? 1.f : options.temperature);
    TokenId token = static_cast<TokenId>(std::max_element(log_p.begin(), log_p.end()) - log_p.begin());
    if (options.temperature != 0) {
      const double u = draw_uniform(key, static_cast<std::uint32_t>(t));
      double cumulative = 0;
      for (token = 0; token + 1 < policy_.vocab(); ++token)
        if ((cumulative += std::exp(log_p[static_cast<std::size_t>(token)])) > u) break;
    }
    c.tokens.push_back(token);
    c.logprobs.push_back(static_cast<float>(log_p[static_cast<std::size_t>(token)]));
    if (options.want_entropy) c.entropies.push_back(static_cast<float>(entropy_of(log_p)));
    c.text += (c.text.empty() ? "" : " ") + std::to_string(token);
    if (token == eos_) {
      c.stop = StopReason::kEos;
      break;
    }
    context = token;
  }
  return c;
}

void TableEngine::wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream) {
  while (true) {
    std::vector<Pending> work;
    {
      const std::lock_guard lock(mutex_);
      work.swap(queue_);
    }
    if (work.empty()) return;
    for (const auto& [id, request, cancelled] : work) {
      stats_.prompt_tokens += static_cast<std::int64_t>(request.prompt.tokens.size());
      for (int s = 0; s < request.samples; ++s) {
        RolloutEvent event;
        event.request = id;
        event.sample = s;
        if (!cancelled) event.completion = sample(request, s);
        stats_.generated_tokens += static_cast<std::int64_t>(event.completion.tokens.size());
        if (stream && !cancelled)
          on_event({RolloutEvent::Kind::kTokens, id, s, event.completion.tokens, event.completion.text, {}, {}});
        on_event(std::move(event));
      }
    }
  }
}

}  // namespace r1
