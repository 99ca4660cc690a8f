#include "rollout/engine_base.h"

#include <chrono>
#include <string>
#include <utility>

#include "core/error.h"

namespace r1 {
namespace {

const LocalEngineOptions& checked(const LocalEngineOptions& o) {
  if (o.max_rows < 1) throw ConfigError(message("rollout.max_rows is ", o.max_rows, ", must be at least 1"));
  if (o.prefill_tokens_per_step < 1)
    throw ConfigError(message("rollout.prefill_tokens_per_step is ", o.prefill_tokens_per_step, ", must be at least 1"));
  return o;
}

}  // namespace

EngineBase::EngineBase(std::shared_ptr<const Tokenizer> tokenizer, const Options& options, const ModelConfig& config, std::int32_t blocks,
                       std::int32_t block_size)
    : tokenizer_(std::move(tokenizer)), options_(checked(options)), blocks_(blocks, block_size),
      scheduler_(blocks_, {options_.max_rows, options_.prefill_tokens_per_step, options_.prefix_cache}),
      limits_{config.max_position_embeddings, config.vocab_size, blocks, block_size, tokenizer_ != nullptr}, end_tokens_(config.eos_token_ids) {
  if (end_tokens_.empty() && tokenizer_ && tokenizer_->eos()) end_tokens_.push_back(*tokenizer_->eos());
}

RequestId EngineBase::submit(RolloutRequest r) {
  const std::lock_guard lock(mutex_);
  check_request(r, limits_);
  const RequestId id = next_id_++;
  auto request = std::make_shared<Request>();
  const auto rules = std::make_shared<const StopRules>(r.sampling, end_tokens_);
  request->samples.reserve(static_cast<std::size_t>(r.samples));
  for (int s = 0; s < r.samples; ++s) request->samples.push_back({CompletionBuilder(rules, tokenizer_, r.sampling.want_entropy)});
  request->unfinished = r.samples;
  const int at_once = options_.prefix_sharing ? r.samples : 1;
  for (int first = 0; first < r.samples; first += at_once) {
    Group& group = scheduler_.add(id, r.prompt.tokens, first, at_once);
    for (Sequence& s : group.samples) request->of(s).sequence = &s;
  }
  request->request = std::move(r);
  requests_.emplace(id, std::move(request));
  return id;
}

void EngineBase::cancel(RequestId id) {
  const std::lock_guard lock(cancel_mutex_);
  cancelled_.push_back(id);
}

void EngineBase::wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream) {
  try {
    std::vector<RolloutEvent> events;
    for (bool more = true; more;) {
      {
        std::unique_lock lock(mutex_);
        weights_loaded_.wait(lock, [&] { return loads_waiting_ == 0; });  // a loader goes first
        if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
        const auto start = std::chrono::steady_clock::now();
        stream_ = stream;
        apply_cancellations();
        const auto unfinished = [&] { return in_flight() || !scheduler_.idle(); };
        if (unfinished()) {
          step();
          stats_.busy_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        }
        more = unfinished();
        events.swap(events_);  // here: a loader that drains adds to them
      }
      // Without the lock: a callback may submit, cancel or load weights.
      for (RolloutEvent& event : events) on_event(std::move(event));
      if (events.empty()) continue;
      events.clear();
      const std::lock_guard lock(mutex_);
      more = more || !scheduler_.idle();
    }
  } catch (...) {
    abandon();
    throw;
  }
}

void EngineBase::learn_digest() {
  if (digest_known_) return;
  digest_ = compute_digest();
  digest_known_ = true;
}

std::optional<StopReason> EngineBase::add_token(Request& request, const Sequence& s, TokenId token, float logprob, float entropy, WeightVersion version) {
  ++stats_.generated_tokens;
  CompletionBuilder& builder = request.of(s).builder;
  const auto reason = builder.add(token, logprob, entropy, version, digest_, stream_);
  if (stream_) events_.push_back({RolloutEvent::Kind::kTokens, s.group->request, s.sample, {token}, builder.take_text(reason.has_value()), {}, {logprob}});
  return reason;
}

void EngineBase::end(Request& request, Sequence& s, StopReason reason) {
  const RequestId id = s.group->request;
  Sample& sample = request.of(s);
  if (stream_ && reason == StopReason::kAborted) {
    std::string rest = sample.builder.take_text(true);
    if (!rest.empty()) events_.push_back({RolloutEvent::Kind::kTokens, id, s.sample, {}, std::move(rest), {}});
  }
  std::vector<std::uint16_t> experts;
  if (request.request.sampling.want_experts && reason != StopReason::kAborted) experts = experts_of(s);
  Completion completion = sample.builder.finish(std::move(s.tokens), reason);
  completion.experts = std::move(experts);
  events_.push_back({RolloutEvent::Kind::kFinished, id, s.sample, {}, {}, std::move(completion)});
  s.tokens.clear();
  release_slot(sample);
  sample.sequence = nullptr;
  scheduler_.finish(s);
  if (--request.unfinished == 0) requests_.erase(id);
}

void EngineBase::apply_cancellations() {
  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(cancel_mutex_);
    ids.swap(cancelled_);
  }
  if (ids.empty()) return;
  drain();
  for (const RequestId id : ids) {
    const auto it = requests_.find(id);
    if (it == requests_.end()) continue;  // ended by itself
    const std::shared_ptr<Request> request = it->second;
    for (Sample& sample : request->samples)
      if (sample.sequence != nullptr) end(*request, *sample.sequence, StopReason::kAborted);
  }
}

void EngineBase::abandon() {
  const std::lock_guard lock(mutex_);
  discard();
  scheduler_.clear();
  requests_.clear();
  events_.clear();
  failure_ = nullptr;  // one error is on its way
  const std::lock_guard cancel_lock(cancel_mutex_);
  cancelled_.clear();
}

void EngineBase::load_weights(const WeightSnapshot& snapshot) {
  ++loads_waiting_;
  const std::lock_guard lock(mutex_);
  --loads_waiting_;
  struct Notify {
    std::condition_variable& condition;
    ~Notify() { condition.notify_all(); }
  } notify{weights_loaded_};
  try {
    drain();
  } catch (...) {
    // Draws are lost, so the rollout cannot go on; wait() must not miss it.
    if (!failure_) failure_ = std::current_exception();
    discard();
  }
  // Whatever happens below, what was computed before is not to be mixed with what comes.
  scheduler_.weights_changed(options_.recompute_on_new_weights);
  weights_dropped();
  digest_known_ = false;
  install(snapshot);
  version_ = snapshot.version;
}

EngineStats EngineBase::stats() const {
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
