#include "rollout/pipelined_engine.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "core/error.h"
#include "rollout/completion_builder.h"

namespace r1 {
namespace {

constexpr TokenId kUnknown = -1;  // drawn by a step that was not collected yet
constexpr std::int32_t kNoSlot = -1;

LocalEngineOptions checked(LocalEngineOptions o, const StepDevice& device) {
  if (o.max_rows < 1) throw ConfigError(message("rollout.max_rows is ", o.max_rows, ", must be at least 1"));
  if (o.prefill_tokens_per_step < 1)
    throw ConfigError(message("rollout.prefill_tokens_per_step is ", o.prefill_tokens_per_step, ", must be at least 1"));
  o.max_rows = std::min(o.max_rows, device.max_decode_rows());
  o.prefill_tokens_per_step = std::min(o.prefill_tokens_per_step, device.max_prefill_rows());
  return o;
}

}  // namespace

struct PipelinedEngine::Request {
  struct Track {
    Sequence* sequence = nullptr;  // until the sample ended
    std::int32_t slot = kNoSlot;
    int draws = 0;                 // tokens drawn or being drawn
  };
  RolloutRequest request;
  std::vector<CompletionBuilder> samples;
  std::vector<Track> tracks;
  int unfinished = 0;
};

PipelinedEngine::PipelinedEngine(StepDevice& device, std::shared_ptr<const Tokenizer> tokenizer, const Options& options)
    : device_(device), tokenizer_(std::move(tokenizer)), options_(checked(options, device)), blocks_(device.blocks(), device.block_size()),
      scheduler_(blocks_, {options_.max_rows, options_.prefill_tokens_per_step, options_.prefix_cache}) {
  if (tokenizer_ && tokenizer_->vocab_size() < device_.vocab_limit()) device_.set_vocab_limit(tokenizer_->vocab_size());
  const ModelConfig& config = device_.config();
  limits_ = {config.max_position_embeddings, config.vocab_size, blocks_.size(), blocks_.block_size(), tokenizer_ != nullptr};
  end_tokens_ = config.eos_token_ids;
  if (end_tokens_.empty() && tokenizer_ && tokenizer_->eos()) end_tokens_.push_back(*tokenizer_->eos());
  for (std::int32_t s = device_.slots(); s-- > 0;) free_slots_.push_back(s);
  memory_epoch_ = device_.memory_epoch();
}

PipelinedEngine::~PipelinedEngine() = default;

RequestId PipelinedEngine::submit(RolloutRequest r) {
  const std::lock_guard lock(mutex_);
  check_request(r, limits_);
  const RequestId id = next_id_++;
  auto request = std::make_shared<Request>();
  const auto rules = std::make_shared<const StopRules>(r.sampling, end_tokens_);
  for (int s = 0; s < r.samples; ++s) request->samples.emplace_back(rules, tokenizer_, r.sampling.want_entropy);
  request->tracks.resize(static_cast<std::size_t>(r.samples));
  request->unfinished = r.samples;
  const int at_once = options_.prefix_sharing ? r.samples : 1;
  for (int first = 0; first < r.samples; first += at_once) {
    Group& group = scheduler_.add(id, r.prompt.tokens, first, at_once);
    for (Sequence& s : group.samples) request->tracks[static_cast<std::size_t>(s.sample)].sequence = &s;
  }
  request->request = std::move(r);
  requests_.emplace(id, std::move(request));
  return id;
}

void PipelinedEngine::cancel(RequestId id) {
  const std::lock_guard lock(cancel_mutex_);
  cancelled_.push_back(id);
}

void PipelinedEngine::wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream) {
  try {
    for (bool more = true; more;) {
      {
        std::unique_lock lock(mutex_);
        weights_loaded_.wait(lock, [&] { return loads_waiting_ == 0; });  // a loader goes first
        const auto start = std::chrono::steady_clock::now();
        stream_ = stream;
        apply_cancellations();
        const bool launched = !scheduler_.idle() && launch_step();
        if (!in_flight_.empty() && (!launched || static_cast<int>(in_flight_.size()) >= device_.max_in_flight())) collect_step();
        more = !in_flight_.empty() || !scheduler_.idle();
        stats_.busy_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
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

bool PipelinedEngine::launch_step() {
  if (!digest_known_) {
    digest_ = device_.digest();
    digest_known_ = true;
  }
  if (const std::uint64_t epoch = device_.memory_epoch(); epoch != memory_epoch_) {
    // Somebody else used the memory of the blocks.
    R1_CHECK(in_flight_.empty(), "the blocks' memory was taken while a step was in flight");
    scheduler_.weights_changed(true);
    memory_epoch_ = epoch;
  }
  // More samples drew than there are slots: what no slot remembers has to be known before it can be planned.
  if (!in_flight_.empty() && in_flight_.back().unslotted) drain();
  if (scheduler_.idle()) return false;
  const StepPlan& plan = scheduler_.plan();
  if (plan.rows == 0) {
    R1_CHECK(!in_flight_.empty(), "the scheduler planned nothing for ", requests_.size(), " requests");
    return false;
  }
  Step step;
  if (!spare_steps_.empty()) {
    step = std::move(spare_steps_.back());
    spare_steps_.pop_back();
  }
  step.version = version_;
  build_rows(plan, step);
  device_.launch(rows_);
  scheduler_.commit();
  for (const Draw& d : step.draws) {
    const Request::Track& track = d.request->tracks[static_cast<std::size_t>(d.sample)];
    if (!d.closing && track.sequence != nullptr) scheduler_.append(*track.sequence, kUnknown);
  }
  ++stats_.decode_steps;
  in_flight_.push_back(std::move(step));
  return true;
}

void PipelinedEngine::build_rows(const StepPlan& plan, Step& step) {
  rows_.clear();
  step.draws.clear();
  step.unslotted = false;
  for (const BlockCopy& copy : plan.copies) rows_.copy_from.push_back(copy.from), rows_.copy_to.push_back(copy.to);
  const auto decodes = [](const Chunk& c) { return c.count == 1 && !c.sequence->is_prompt(); };
  for (const bool decode : {true, false}) {
    for (const Chunk& chunk : plan.chunks) {
      if (decodes(chunk) != decode) continue;
      add_sequence(chunk, decode);
      if (!chunk.sequence->is_prompt()) stats_.decode_rows += chunk.count;
      if (chunk.wants_logits) add_draws(chunk, static_cast<std::int32_t>(rows_.tokens.size()) - 1, step);
    }
    if (decode) rows_.decode_rows = static_cast<std::int32_t>(rows_.tokens.size());
  }
}

void PipelinedEngine::add_sequence(const Chunk& chunk, bool decode) {
  const Sequence& s = *chunk.sequence;
  const auto table = static_cast<std::int32_t>(rows_.table_begin.size()) - 1;
  rows_.tables.insert(rows_.tables.end(), s.blocks.begin(), s.blocks.end());
  rows_.table_begin.push_back(static_cast<std::int32_t>(rows_.tables.size()));
  if (!decode) rows_.runs.push_back({static_cast<std::int32_t>(rows_.tokens.size()), chunk.count, chunk.begin, table});
  for (std::int32_t p = chunk.begin; p < chunk.begin + chunk.count; ++p) {
    TokenId token = s.token_at(p);
    if (token == kUnknown) token = -1 - request_of(s).tracks[static_cast<std::size_t>(s.sample)].slot;
    rows_.tokens.push_back(token);
    rows_.positions.push_back(p);
  }
}

void PipelinedEngine::add_draws(const Chunk& chunk, std::int32_t row, Step& step) {
  Sequence& planned = *chunk.sequence;
  const std::shared_ptr<Request>& request = requests_.at(planned.group->request);
  const RolloutRequest& r = request->request;
  const auto draw = [&](Sequence& sample) {
    Request::Track& track = request->tracks[static_cast<std::size_t>(sample.sample)];
    if (track.slot == kNoSlot && !free_slots_.empty()) {
      track.slot = free_slots_.back();
      free_slots_.pop_back();
    }
    step.unslotted = step.unslotted || track.slot == kNoSlot;
    DrawKey key = r.key;
    key.sample += static_cast<std::uint32_t>(sample.sample);
    const SamplingOptions& o = r.sampling;
    rows_.draws.push_back({row, track.slot, draw_uniform(key, static_cast<std::uint32_t>(track.draws)), o.temperature, o.top_k, o.top_p, o.min_p});
    step.draws.push_back({request, sample.sample, sample.tokens.size(), ++track.draws >= o.max_new_tokens});
  };
  if (!planned.is_prompt()) {
    draw(planned);
    return;
  }
  for (Sequence& sample : planned.group->samples)
    if (sample.state != Sequence::State::kFinished) draw(sample);
}

void PipelinedEngine::collect_step() {
  Step step = std::move(in_flight_.front());
  in_flight_.pop_front();
  const std::span<const DeviceDraw> drawn = device_.collect();
  R1_CHECK(drawn.size() == step.draws.size(), drawn.size(), " draws came back of ", step.draws.size());
  for (std::size_t i = 0; i < drawn.size(); ++i) take(step.draws[i], drawn[i], step.version);
  step.draws.clear();
  spare_steps_.push_back(std::move(step));
}

void PipelinedEngine::drain() {
  while (!in_flight_.empty()) collect_step();
}

void PipelinedEngine::take(const Draw& d, const DeviceDraw& drawn, WeightVersion version) {
  Request& request = *d.request;
  Request::Track& track = request.tracks[static_cast<std::size_t>(d.sample)];
  if (track.sequence == nullptr) return;  // ended at an earlier token
  if (drawn.token < 0)
    throw NumericError(message("prompt ", request.request.prompt.id, ", sample ", request.request.key.sample + static_cast<std::uint32_t>(d.sample),
                               ", token ", d.index, ": a logit is NaN or infinite; the weights or the activations of this row went bad"));
  Sequence& s = *track.sequence;
  if (d.closing) s.tokens.push_back(drawn.token);
  else s.tokens[d.index] = drawn.token;
  ++stats_.generated_tokens;
  CompletionBuilder& builder = request.samples[static_cast<std::size_t>(d.sample)];
  const auto reason = builder.add(drawn.token, drawn.logprob, drawn.entropy, version, digest_, stream_);
  if (stream_)
    events_.push_back({RolloutEvent::Kind::kTokens, s.group->request, s.sample, {drawn.token}, builder.take_text(reason.has_value()), {}});
  if (reason) {
    s.tokens.resize(d.index + 1);
    end(request, s, *reason);
  } else if (s.state == Sequence::State::kWaiting && s.tokens.back() != kUnknown && track.slot != kNoSlot) {
    // Preempted, or not admitted yet: its token is known, others can use the slot.
    free_slots_.push_back(std::exchange(track.slot, kNoSlot));
  }
}

void PipelinedEngine::end(Request& request, Sequence& s, StopReason reason) {
  const RequestId id = s.group->request;
  Request::Track& track = request.tracks[static_cast<std::size_t>(s.sample)];
  CompletionBuilder& builder = request.samples[static_cast<std::size_t>(s.sample)];
  if (stream_ && reason == StopReason::kAborted) {
    std::string rest = builder.take_text(true);
    if (!rest.empty()) events_.push_back({RolloutEvent::Kind::kTokens, id, s.sample, {}, std::move(rest), {}});
  }
  events_.push_back({RolloutEvent::Kind::kFinished, id, s.sample, {}, {}, builder.finish(std::move(s.tokens), reason)});
  s.tokens.clear();
  if (track.slot != kNoSlot) free_slots_.push_back(std::exchange(track.slot, kNoSlot));
  track.sequence = nullptr;
  scheduler_.finish(s);
  if (--request.unfinished == 0) requests_.erase(id);
}

void PipelinedEngine::apply_cancellations() {
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
    for (Request::Track& track : request->tracks)
      if (track.sequence != nullptr) end(*request, *track.sequence, StopReason::kAborted);
  }
}

void PipelinedEngine::abandon() {
  const std::lock_guard lock(mutex_);
  try {
    while (!in_flight_.empty()) {
      in_flight_.pop_front();
      device_.collect();
    }
  } catch (const Error&) {  // the device is what failed; its error is on its way already
  }
  in_flight_.clear();
  scheduler_.clear();
  requests_.clear();
  events_.clear();
  free_slots_.clear();
  for (std::int32_t s = device_.slots(); s-- > 0;) free_slots_.push_back(s);
  const std::lock_guard cancel_lock(cancel_mutex_);
  cancelled_.clear();
}

void PipelinedEngine::load_weights(const WeightSnapshot& snapshot) {
  ++loads_waiting_;
  const std::lock_guard lock(mutex_);
  --loads_waiting_;
  struct Notify {
    std::condition_variable& condition;
    ~Notify() { condition.notify_all(); }
  } notify{weights_loaded_};
  drain();
  // Whatever happens below, what was computed before is not to be mixed with what comes.
  scheduler_.weights_changed(options_.recompute_on_new_weights);
  digest_known_ = false;
  device_.load_weights(snapshot);
  version_ = snapshot.version;
}

EngineStats PipelinedEngine::stats() const {
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
