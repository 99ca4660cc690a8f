#include "rollout/local_engine.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "core/error.h"
#include "rollout/completion_builder.h"

namespace r1 {

struct LocalEngine::Request {
  RolloutRequest request;
  std::vector<CompletionBuilder> samples;
  int unfinished = 0;
};

struct LocalEngine::Draw {
  Request* request = nullptr;
  Sequence* sample = nullptr;
  cpu::Sampled sampled;
};

namespace {

const LocalEngineOptions& checked(const LocalEngineOptions& o) {
  if (o.max_rows < 1) throw ConfigError(message("rollout.max_rows is ", o.max_rows, ", must be at least 1"));
  if (o.prefill_tokens_per_step < 1)
    throw ConfigError(message("rollout.prefill_tokens_per_step is ", o.prefill_tokens_per_step, ", must be at least 1"));
  return o;
}

}  // namespace

std::int32_t LocalEngine::count_blocks(const Transformer& transformer, const Options& options) {
  const auto bytes = static_cast<std::int64_t>(transformer.kv_block_bytes());
  const std::int64_t count = options.kv_cache_bytes / bytes;
  if (count < 1)
    throw ConfigError(message("rollout.kv_cache_gb gives ", options.kv_cache_bytes, " bytes, one KV block of this model has ", bytes, "; raise it"));
  return static_cast<std::int32_t>(std::min<std::int64_t>(count, std::int64_t{1} << 30));
}

LocalEngine::LocalEngine(Transformer& transformer, std::shared_ptr<const Tokenizer> tokenizer, const Options& options)
    : model_(transformer), tokenizer_(std::move(tokenizer)), options_(checked(options)),
      blocks_(count_blocks(transformer, options), cpu::kKvBlock), arena_(blocks_.size(), transformer.kv_block_bytes()),
      scheduler_(blocks_, {options.max_rows, options.prefill_tokens_per_step, options.prefix_cache}) {
  if (tokenizer_ && tokenizer_->vocab_size() < model_.vocab_limit()) model_.set_vocab_limit(tokenizer_->vocab_size());
  limits_ = {model_.config().max_position_embeddings, model_.config().vocab_size, blocks_.size(), cpu::kKvBlock, tokenizer_ != nullptr};
  end_tokens_ = model_.config().eos_token_ids;
  if (end_tokens_.empty() && tokenizer_ && tokenizer_->eos()) end_tokens_.push_back(*tokenizer_->eos());
}

LocalEngine::~LocalEngine() = default;

RequestId LocalEngine::submit(RolloutRequest r) {
  const std::lock_guard lock(mutex_);
  check_request(r, limits_);
  const RequestId id = next_id_++;
  auto request = std::make_unique<Request>();
  const auto rules = std::make_shared<const StopRules>(r.sampling, end_tokens_);
  for (int s = 0; s < r.samples; ++s) request->samples.emplace_back(rules, tokenizer_, r.sampling.want_entropy);
  request->unfinished = r.samples;
  if (options_.prefix_sharing) {
    scheduler_.add(id, r.prompt.tokens, 0, r.samples);
  } else {
    for (int s = 0; s < r.samples; ++s) scheduler_.add(id, r.prompt.tokens, s, 1);
  }
  request->request = std::move(r);
  requests_.emplace(id, std::move(request));
  return id;
}

void LocalEngine::cancel(RequestId id) {
  const std::lock_guard lock(cancel_mutex_);
  cancelled_.push_back(id);
}

void LocalEngine::wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream) {
  try {
    for (bool more = true; more;) {
      {
        std::unique_lock lock(mutex_);
        weights_loaded_.wait(lock, [&] { return loads_waiting_ == 0; });  // a loader goes first
        apply_cancellations(stream);
        if (!scheduler_.idle()) step(stream);
        more = !scheduler_.idle();
      }
      // Without the lock: a callback may submit, cancel or load weights.
      std::vector<RolloutEvent> events = std::exchange(events_, {});
      for (RolloutEvent& event : events) on_event(std::move(event));
      const std::lock_guard lock(mutex_);
      more = more || !scheduler_.idle();
    }
  } catch (...) {
    abandon();
    throw;
  }
}

void LocalEngine::step(bool stream) {
  const auto start = std::chrono::steady_clock::now();
  if (!digest_known_) {
    digest_ = model_.weights().digest();
    digest_known_ = true;
  }
  const StepPlan& plan = scheduler_.plan();
  R1_CHECK(plan.rows > 0, "the scheduler planned nothing for ", requests_.size(), " requests");
  for (const BlockCopy& copy : plan.copies) arena_.copy(copy.from, copy.to);
  build_rows(plan);
  model_.step(rows_, [this](std::size_t row, const float* logits) { draw(row, logits); });
  scheduler_.commit();
  for (Draw& d : draws_) take(d, stream);
  ++stats_.decode_steps;
  stats_.generated_tokens += static_cast<std::int64_t>(draws_.size());
  stats_.busy_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void LocalEngine::build_rows(const StepPlan& plan) {
  rows_.clear();
  pointers_.clear();
  row_draws_.clear();
  draws_.clear();
  std::size_t tables = 0;
  for (const Chunk& chunk : plan.chunks) tables += chunk.sequence->blocks.size();
  pointers_.reserve(tables);  // rows point into it
  for (const Chunk& chunk : plan.chunks) {
    Sequence& s = *chunk.sequence;
    std::byte* const* table = pointers_.data() + pointers_.size();
    for (const BlockId block : s.blocks) pointers_.push_back(arena_.block(block));
    if (options_.poison_kv)
      for (std::size_t b = 0; b < s.blocks.size(); ++b)
        if (static_cast<std::int64_t>(b) * cpu::kKvBlock >= chunk.begin) arena_.fill_nan(s.blocks[b]);
    for (std::int32_t p = chunk.begin; p < chunk.begin + chunk.count; ++p) rows_.push_back({s.token_at(p), {table, p}, false});
    row_draws_.resize(rows_.size());
    if (!s.is_prompt()) stats_.decode_rows += chunk.count;
    if (!chunk.wants_logits) continue;
    rows_.back().wants_logits = true;
    Request& request = *requests_.at(s.group->request);
    const auto begin = static_cast<std::int32_t>(draws_.size());
    if (!s.is_prompt()) {
      draws_.push_back({&request, &s, {}});
    } else {
      for (Sequence& sample : s.group->samples)
        if (sample.state != Sequence::State::kFinished) draws_.push_back({&request, &sample, {}});
    }
    row_draws_.back() = {begin, static_cast<std::int32_t>(draws_.size())};
  }
}

// Called from several threads; each touches its own row's draws only.
void LocalEngine::draw(std::size_t row, const float* logits) {
  for (std::int32_t i = row_draws_[row].first; i < row_draws_[row].second; ++i) {
    Draw& d = draws_[static_cast<std::size_t>(i)];
    const RolloutRequest& r = d.request->request;
    DrawKey key = r.key;
    key.sample += static_cast<std::uint32_t>(d.sample->sample);
    const auto position = static_cast<std::uint32_t>(d.sample->tokens.size());
    const SamplingOptions& s = r.sampling;
    try {
      d.sampled = cpu::sample_row(logits, model_.vocab_limit(), {s.temperature, s.top_k, s.top_p, s.min_p, draw_uniform(key, position)});
    } catch (const NumericError& e) {
      throw NumericError(message("prompt ", r.prompt.id, ", sample ", key.sample, ", token ", position, ": ", e.what()));
    }
  }
}

void LocalEngine::take(Draw& d, bool stream) {
  Sequence& s = *d.sample;
  CompletionBuilder& builder = d.request->samples[static_cast<std::size_t>(s.sample)];
  scheduler_.append(s, d.sampled.token);
  const auto reason = builder.add(d.sampled.token, d.sampled.logprob, d.sampled.entropy, version_, digest_, stream);
  if (stream)
    events_.push_back({RolloutEvent::Kind::kTokens, s.group->request, s.sample, {d.sampled.token}, builder.take_text(reason.has_value()), {}});
  if (reason) end(*d.request, s, *reason, stream);
}

void LocalEngine::end(Request& request, Sequence& s, StopReason reason, bool stream) {
  const RequestId id = s.group->request;
  CompletionBuilder& builder = request.samples[static_cast<std::size_t>(s.sample)];
  if (stream && reason == StopReason::kAborted) {
    std::string rest = builder.take_text(true);
    if (!rest.empty()) events_.push_back({RolloutEvent::Kind::kTokens, id, s.sample, {}, std::move(rest), {}});
  }
  events_.push_back({RolloutEvent::Kind::kFinished, id, s.sample, {}, {}, builder.finish(std::move(s.tokens), reason)});
  s.tokens.clear();
  scheduler_.finish(s);
  if (--request.unfinished == 0) requests_.erase(id);
}

void LocalEngine::apply_cancellations(bool stream) {
  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(cancel_mutex_);
    ids.swap(cancelled_);
  }
  for (const RequestId id : ids) {
    const auto it = requests_.find(id);
    if (it == requests_.end()) continue;  // ended by itself
    Request& request = *it->second;
    for (Group& g : scheduler_.groups()) {
      if (g.request != id) continue;
      for (Sequence& s : g.samples)
        if (s.state != Sequence::State::kFinished) end(request, s, StopReason::kAborted, stream);
    }
  }
}

void LocalEngine::abandon() {
  const std::lock_guard lock(mutex_);
  scheduler_.clear();
  requests_.clear();
  events_.clear();
  const std::lock_guard cancel_lock(cancel_mutex_);
  cancelled_.clear();
}

void LocalEngine::load_weights(const WeightSnapshot& snapshot) {
  ++loads_waiting_;
  const std::lock_guard lock(mutex_);
  --loads_waiting_;
  struct Notify {
    std::condition_variable& condition;
    ~Notify() { condition.notify_all(); }
  } notify{weights_loaded_};
  // Whatever happens below, what was computed before is not to be mixed with what comes.
  scheduler_.weights_changed(options_.recompute_on_new_weights);
  digest_known_ = false;
  model_.weights_changed();
  model_.weights().load(snapshot);
  version_ = snapshot.version;
}

EngineStats LocalEngine::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats s = stats_;
  s.prompt_tokens = scheduler_.prompt_tokens();
  s.cached_prompt_tokens = scheduler_.cached_prompt_tokens();
  s.preemptions = scheduler_.preemptions();
  s.kv_blocks = blocks_.size();
  s.kv_blocks_peak = blocks_.peak();
  return s;
}

}  // namespace r1
