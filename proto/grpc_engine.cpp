#include "proto/grpc_engine.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <unordered_map>

#include "core/error.h"
#include "core/log.h"
#include "core/signals.h"
#include "proto/generate_flight.h"
#include "proto/grpc_token.h"
#include "rollout/request_check.h"

namespace r1 {
namespace {

using Clock = std::chrono::steady_clock;
using Part = GenerateFlight::Part;
using grpc::StatusCode;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string random_run() {
  std::random_device device;
  return message(std::hex, device(), device());
}

class GrpcEngine final : public RolloutEngine {
 public:
  GrpcEngine(GrpcEngineOptions options, const std::string& tokenizer) : options_(std::move(options)), inbox_(shared_) {
    for (const std::string& address : options_.servers) links_.push_back(std::make_unique<ServerLink>(options_, address, tokenizer, shared_));
    wait_for_first();
  }
  ~GrpcEngine() override {
    abandon();
    std::unique_lock lock(shared_.mutex);
    shared_.changed.wait(lock, [&] { return inbox_.open == 0; });  // they were cancelled
    inbox_.arrivals.clear();
  }

  RequestId submit(RolloutRequest request) override;
  void cancel(RequestId id) override {
    const std::lock_guard lock(shared_.mutex);
    cancelled_.push_back(id);
    shared_.changed.notify_all();
  }
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream) override;
  void load_weights(const WeightSnapshot& snapshot) override;
  WeightVersion weight_version() const override { return version_; }
  EngineStats stats() const override {
    const std::lock_guard lock(shared_.mutex);
    return stats_;
  }
  GrpcEngineCounts counts() const {
    const std::lock_guard lock(shared_.mutex);
    return shared_.counts;
  }

 private:
  struct Streamed {  // of a sample, as events
    std::uint64_t by = 0;  // the call whose tokens are given out; those of a repeated one wait for the end
    std::size_t tokens = 0, bytes = 0;
  };
  struct Request {
    RolloutRequest request;
    std::vector<bool> done;  // [samples]
    std::vector<Streamed> streamed;  // [samples]
    int unfinished = 0;
    bool cancelled = false;
  };

  // All with shared_.mutex held.
  void take_arrivals(std::vector<RolloutEvent>& events);
  void take_tokens(GenerateFlight& flight, Request& request, wire_rollout::Tokens& tokens, std::vector<RolloutEvent>& events);
  void take_completion(GenerateFlight& flight, Request& request, wire_rollout::Completion& wire, std::vector<RolloutEvent>& events);
  void check_weights(const GenerateFlight& flight, const Request& request, int sample, const Completion& completion) const;
  void end_flight(GenerateFlight& flight, const grpc::Status& status, std::vector<RolloutEvent>& events);
  void ask_again(const GenerateFlight& flight, const Request& request, Part part, const grpc::Status& status);
  void cancel_at_server(const std::shared_ptr<GenerateFlight>& flight);
  void apply_cancellations(std::vector<RolloutEvent>& events);
  void finish(RequestId id, Request& request, int sample, Completion&& completion, std::vector<RolloutEvent>& events);
  void dispatch();
  ServerLink* least_loaded();
  void start(ServerLink& link, const Part& part);
  void check_stall();
  std::string states() const;

  struct Wanted { bool gpu = false, share = false, change = false; };
  Wanted wanted() const;
  std::shared_ptr<WeightArena> fill_arena(const WeightSnapshot& snapshot);

  void wait_for_first();
  void abandon();

  const GrpcEngineOptions options_;
  mutable LinkShared shared_;
  FlightInbox inbox_;
  std::vector<std::unique_ptr<ServerLink>> links_;  // destroyed before what they use
  const std::string run_ = random_run();
  std::atomic<WeightVersion> version_{0};
  std::mutex loading_;
  std::shared_ptr<PublishedWeights> newest_;  // of load_weights(), as what follows: the target
  std::shared_ptr<WeightImage> spent_;        // of the one before it
  std::shared_ptr<WeightArena> arena_;

  // Guarded by shared_.mutex, as the links.
  std::unordered_map<RequestId, Request> requests_;
  std::deque<Part> parts_;                                     // not asked for yet, or again
  std::set<std::shared_ptr<GenerateFlight>> flights_;
  std::vector<RequestId> cancelled_;
  std::vector<WeightKey> published_;                           // all so far
  std::size_t asked_for_ = 0;                                  // the target is published_[asked_for_ - 1]
  RequestId next_id_ = 1;
  std::uint64_t next_call_ = 1;
  bool stream_ = false;
  std::optional<Clock::time_point> idle_since_;                // with parts, and no server that takes one
  EngineStats stats_;
};

void GrpcEngine::wait_for_first() {
  const auto start = Clock::now();
  std::unique_lock lock(shared_.mutex);
  for (;;) {
    if (shared_.fatal) std::rethrow_exception(shared_.fatal);
    if (std::any_of(links_.begin(), links_.end(), [](const auto& link) { return link->connected(); })) return;
    if (seconds_since(start) > options_.start_timeout_s)
      throw ConfigError(message("no rollout server answered within ", options_.start_timeout_s, " s (rollout.grpc.start_timeout): ", states(),
                                "; start them with r1 serve --grpc, or correct rollout.engine"));
    throw_if_stopped();
    shared_.changed.wait_for(lock, std::chrono::milliseconds(50));
  }
}

std::string GrpcEngine::states() const {
  std::string out;
  for (const auto& link : links_) out += (out.empty() ? "" : "; ") + link->state();
  return out;
}

RequestId GrpcEngine::submit(RolloutRequest request) {
  const std::lock_guard lock(shared_.mutex);
  EngineLimits limits{std::int64_t{1} << 40, std::int64_t{1} << 31, std::int64_t{1} << 40, 1, true};  // a server's KV cache is its own affair
  for (const auto& link : links_)
    if (link->info().vocab_size() > 0) {
      limits.context = std::min(limits.context, static_cast<std::int64_t>(link->info().context()));
      limits.vocab_size = std::min(limits.vocab_size, static_cast<std::int64_t>(link->info().vocab_size()));
      limits.has_tokenizer = limits.has_tokenizer && link->info().has_tokenizer();
    }
  check_request(request, limits);
  const RequestId id = next_id_++;
  Request& r = requests_[id];
  r.unfinished = request.samples;
  r.done.assign(static_cast<std::size_t>(request.samples), false);
  r.streamed.resize(static_cast<std::size_t>(request.samples));
  parts_.push_back({id, 0, request.samples, 0, 0});
  r.request = std::move(request);
  return id;
}

// What servers can use.
GrpcEngine::Wanted GrpcEngine::wanted() const {
  Wanted out;
  const std::lock_guard lock(shared_.mutex);
  for (const auto& link : links_)
    if (link->known() && on_gpu(link->best_way())) out.gpu = true;
  for (const auto& link : links_) {
    if (on_gpu(link->best_way()) || (out.gpu && !link->known())) continue;  // a link makes an image of what is on the GPU, if need be
    (link->best_way() == WeightWay::kShared ? out.share : out.change) = true;
  }
  return out;
}

// Null, and no_gpu, if there is no memory for it and other ways may be taken.
std::shared_ptr<WeightArena> GrpcEngine::fill_arena(const WeightSnapshot& snapshot) {
  {
    std::unique_lock lock(shared_.mutex);
    shared_.publishing = true;
    while (shared_.readers > 0) {
      throw_if_stopped();
      shared_.changed.wait_for(lock, std::chrono::milliseconds(100));
    }
  }
  try {
    if (!arena_) arena_ = std::make_shared<WeightArena>(options_.weight_device, options_.layout, options_.places);
    arena_->fill(snapshot);
  } catch (const DeviceError& e) {
    if (options_.weights) throw;
    log_warning("rollout.weights_way", {{"text", message("weights for rollout servers go by way of the host: ", e.what())}});
    arena_.reset();
    const std::lock_guard lock(shared_.mutex);
    shared_.no_gpu = true;
  }
  return arena_;
}

void GrpcEngine::load_weights(const WeightSnapshot& snapshot) {
  const std::lock_guard one(loading_);
  struct Published {
    LinkShared& shared;
    ~Published() {
      const std::lock_guard lock(shared.mutex);
      shared.publishing = false;
      shared.changed.notify_all();
    }
  } published{shared_};
  auto weights = std::make_shared<PublishedWeights>();
  Wanted want = wanted();
  if (want.gpu && !(weights->arena = fill_arena(snapshot))) want = wanted();
  if (!want.gpu || want.share || want.change) {
    // Links take an image from `target` alone: one that stood there before and that none is sending is nobody's.
    WeightImage* const spent = spent_.use_count() == 1 ? spent_.get() : nullptr;
    std::atomic_thread_fence(std::memory_order_acquire);  // what the last link read of it came before
    const bool on_device = std::any_of(snapshot.tensors.begin(), snapshot.tensors.end(), [](const TensorView& t) { return t.device != -1; });
    weights->image = std::make_shared<WeightImage>(on_device && options_.to_host ? options_.to_host(snapshot) : snapshot, want.change && newest_ ? newest_->image.get() : nullptr, spent,
                                                   want.share, weights->arena ? &weights->arena->digest() : nullptr);
  }
  weights->key = weights->arena ? WeightKey{snapshot.version, weights->arena->digest()} : weights->image->key();
  std::unique_lock lock(shared_.mutex);
  version_ = weights->key.version;
  if (newest_ && newest_->key == weights->key) {  // nothing is new
    spent_ = std::move(weights->image);
    return;
  }
  published_.push_back(weights->key);
  if (options_.before_publish) {
    lock.unlock();
    options_.before_publish();
    lock.lock();
  }
  asked_for_ = published_.size();
  shared_.target = weights;
  if (newest_) spent_ = newest_->image;
  newest_ = std::move(weights);
}

void GrpcEngine::wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream) {
  try {
    std::vector<RolloutEvent> events;
    for (;;) {
      {
        std::unique_lock lock(shared_.mutex);
        stream_ = stream;
        if (shared_.fatal) std::rethrow_exception(shared_.fatal);
        take_arrivals(events);
        apply_cancellations(events);
        dispatch();
        if (events.empty()) {
          if (requests_.empty()) return;
          check_stall();
          if (inbox_.arrivals.empty()) shared_.changed.wait_for(lock, std::chrono::milliseconds(100));
        }
      }
      if (events.empty()) options_.interruptible ? throw_if_stopped() : throw_if_aborted();
      for (RolloutEvent& event : events) on_event(std::move(event));
      events.clear();
    }
  } catch (...) {
    abandon();
    throw;
  }
}

void GrpcEngine::abandon() {
  const std::lock_guard lock(shared_.mutex);
  for (const auto& flight : flights_) {
    flight->cut();
    flight->link.calls -= 1;
    flight->link.samples -= flight->missing;
  }
  flights_.clear();
  requests_.clear();
  parts_.clear();
  cancelled_.clear();
  idle_since_.reset();
}

void GrpcEngine::take_arrivals(std::vector<RolloutEvent>& events) {
  while (!inbox_.arrivals.empty()) {
    FlightInbox::Arrival arrival = std::move(inbox_.arrivals.front());
    inbox_.arrivals.pop_front();
    if (!flights_.contains(arrival.flight)) continue;  // of a wait() that was given up
    GenerateFlight& flight = *arrival.flight;
    if (const auto found = requests_.find(flight.part.request); found != requests_.end()) {
      for (wire_rollout::Tokens& tokens : *arrival.reply.mutable_tokens()) take_tokens(flight, found->second, tokens, events);
      for (wire_rollout::Completion& completion : *arrival.reply.mutable_finished()) {
        take_completion(flight, found->second, completion, events);
        if (!requests_.contains(flight.part.request)) break;
      }
    }
    if (arrival.ended) {
      end_flight(flight, arrival.status, events);
      flights_.erase(arrival.flight);
    }
  }
}

void GrpcEngine::take_tokens(GenerateFlight& flight, Request& request, wire_rollout::Tokens& t, std::vector<RolloutEvent>& events) {
  const int sample = flight.part.first + static_cast<int>(t.sample());
  if (!stream_ || sample >= flight.part.first + flight.part.count || request.done[static_cast<std::size_t>(sample)]) return;
  Streamed& streamed = request.streamed[static_cast<std::size_t>(sample)];
  if (streamed.by == 0) streamed.by = flight.number;
  if (streamed.by != flight.number) return;
  streamed.tokens += static_cast<std::size_t>(t.token_ids_size());
  streamed.bytes += t.text().size();
  RolloutEvent e;
  e.kind = RolloutEvent::Kind::kTokens;
  e.request = flight.part.request;
  e.sample = sample;
  e.tokens.assign(t.token_ids().begin(), t.token_ids().end());
  e.logprobs.assign(t.logprobs().begin(), t.logprobs().end());
  e.text = std::move(*t.mutable_text());
  events.push_back(std::move(e));
}

// A first whole completion of a sample is the one; any other, of a request that was repeated, has the same bits.
void GrpcEngine::take_completion(GenerateFlight& flight, Request& request, wire_rollout::Completion& wire, std::vector<RolloutEvent>& events) {
  const auto wrong = [&](const std::string& what) {
    throw Error(message("rollout server ", flight.link.address(), ", prompt ", request.request.prompt.id, ", sample ", flight.part.first + static_cast<int>(wire.sample()), ": ", what));
  };
  if (wire.sample() >= static_cast<std::uint32_t>(flight.part.count)) wrong(message("asked for were ", flight.part.count, " samples"));
  const int sample = flight.part.first + static_cast<int>(wire.sample());
  if (request.done[static_cast<std::size_t>(sample)]) return;
  Completion completion;
  try {
    completion = from_wire(wire);
  } catch (const Error& e) {
    wrong(e.what());
  }
  if (completion.stop == StopReason::kAborted && !request.cancelled) return;  // the server gave it up, we did not
  check_weights(flight, request, sample, completion);
  flight.missing -= 1;
  flight.link.samples -= 1;
  stats_.generated_tokens += static_cast<std::int64_t>(completion.tokens.size());
  finish(flight.part.request, request, sample, std::move(completion), events);
}

void GrpcEngine::check_weights(const GenerateFlight& flight, const Request& request, int sample, const Completion& completion) const {
  if (flight.published == 0) return;
  for (const VersionRun& run : completion.version_runs) {
    const WeightKey key{run.version, run.digest};
    if (std::find(published_.begin() + static_cast<std::ptrdiff_t>(flight.published) - 1, published_.end(), key) != published_.end()) continue;
    throw Error(message("rollout server ", flight.link.address(), ", prompt ", request.request.prompt.id, ", sample ", sample, ": token ", run.start,
                        " was drawn with weights of ", to_string(key), "; asked for were ", to_string(published_[flight.published - 1]),
                        " or newer. Does another run send weights to this server?"));
  }
}

void GrpcEngine::finish(RequestId id, Request& request, int sample, Completion&& completion, std::vector<RolloutEvent>& events) {
  request.done[static_cast<std::size_t>(sample)] = true;
  const Streamed& streamed = request.streamed[static_cast<std::size_t>(sample)];
  if (stream_ && streamed.tokens < completion.tokens.size()) {  // its first call did not get this far
    const auto from = static_cast<std::ptrdiff_t>(streamed.tokens);
    RolloutEvent rest;
    rest.kind = RolloutEvent::Kind::kTokens;
    rest.request = id;
    rest.sample = sample;
    rest.tokens.assign(completion.tokens.begin() + from, completion.tokens.end());
    rest.logprobs.assign(completion.logprobs.begin() + from, completion.logprobs.end());
    rest.text = completion.text.substr(std::min(streamed.bytes, completion.text.size()));
    events.push_back(std::move(rest));
  }
  RolloutEvent e;
  e.request = id;
  e.sample = sample;
  e.completion = std::move(completion);
  events.push_back(std::move(e));
  if (--request.unfinished == 0) requests_.erase(id);
}

void GrpcEngine::end_flight(GenerateFlight& flight, const grpc::Status& status, std::vector<RolloutEvent>& events) {
  ServerLink& link = flight.link;
  link.calls -= 1;
  link.samples -= flight.missing;
  const auto found = requests_.find(flight.part.request);
  if (found == requests_.end()) return;
  Request& request = found->second;
  std::vector<Part> again;  // runs of samples that did not come
  for (int s = flight.part.first; s < flight.part.first + flight.part.count; ++s) {
    if (request.done[static_cast<std::size_t>(s)]) continue;
    if (again.empty() || again.back().first + again.back().count < s) again.push_back({flight.part.request, s, 0, flight.part.attempts, flight.part.late});
    ++again.back().count;
  }
  const StatusCode code = status.error_code();
  const bool gone = code == StatusCode::UNAVAILABLE || code == StatusCode::CANCELLED || code == StatusCode::UNKNOWN || code == StatusCode::DEADLINE_EXCEEDED;
  // Connecting anew shows whether it is there, and which weights it has.
  if ((gone && !request.cancelled) || code == StatusCode::FAILED_PRECONDITION) link.lost(describe(status));
  if (code == StatusCode::RESOURCE_EXHAUSTED) link.full();
  for (const Part& part : again) {
    if (!request.cancelled) {
      ask_again(flight, request, part, status);
      continue;
    }
    for (int s = part.first; s < part.first + part.count; ++s) {
      finish(part.request, request, s, Completion{}, events);
      if (!requests_.contains(part.request)) return;
    }
  }
}

void GrpcEngine::ask_again(const GenerateFlight& flight, const Request& request, Part part, const grpc::Status& status) {
  const std::string where = message("rollout server ", flight.link.address(), ", prompt ", request.request.prompt.id, ": ");
  const std::string why = status.ok() ? "the call ended without all samples" : describe(status);
  const StatusCode code = status.error_code();
  if (hopeless(code)) throw ConfigError(message("rollout server ", flight.link.address(), ": ", why));
  if (code == StatusCode::DEADLINE_EXCEEDED && ++part.late > 1)
    throw Error(message(where, "waited ", options_.call_timeout_s, " s for its completions, twice (rollout.grpc.call_timeout)"));
  if (code != StatusCode::RESOURCE_EXHAUSTED) ++part.attempts;
  if (part.attempts > options_.retries || (code == StatusCode::INTERNAL && part.attempts > 2))
    throw Error(message(where, "no completions in ", part.attempts, " tries (rollout.grpc.retries), the last: ", why));
  ++shared_.counts.retried;
  log_debug("rollout.retry", {{"text", message(where, why)}, {"attempt", part.attempts}});
  parts_.push_front(part);
}

// The samples then finish with the tokens they have; where the server does not know the call, they have none.
void GrpcEngine::cancel_at_server(const std::shared_ptr<GenerateFlight>& flight) {
  struct Call {
    grpc::ClientContext context;
    wire_rollout::CancelRequest request;
    wire_rollout::CancelReply reply;
  };
  const auto call = std::make_shared<Call>();
  call->context.set_deadline(deadline_in(5));
  send_token(call->context, options_.token);
  call->request.set_request_id(flight->request.request_id());
  flight->link.stub().async()->Cancel(&call->context, &call->request, &call->reply, [call, flight](const grpc::Status& status) {
    if (!status.ok() || call->reply.calls() == 0) flight->cut();
  });
}

void GrpcEngine::apply_cancellations(std::vector<RolloutEvent>& events) {
  for (const RequestId id : std::exchange(cancelled_, {})) {
    const auto found = requests_.find(id);
    if (found == requests_.end() || std::exchange(found->second.cancelled, true)) continue;
    std::vector<Part> waiting;
    std::copy_if(parts_.begin(), parts_.end(), std::back_inserter(waiting), [&](const Part& p) { return p.request == id; });
    std::erase_if(parts_, [&](const Part& p) { return p.request == id; });
    for (const auto& flight : flights_)
      if (flight->part.request == id) cancel_at_server(flight);
    for (const Part& part : waiting)
      for (int s = part.first; s < part.first + part.count && requests_.contains(id); ++s) finish(id, requests_.at(id), s, Completion{}, events);
  }
}

ServerLink* GrpcEngine::least_loaded() {
  ServerLink* best = nullptr;
  double least = 2;  // times its slots: the next samples wait at the server when others end
  for (const auto& link : links_) {
    if (!link->ready() || link->calls >= static_cast<int>(link->info().max_calls())) continue;
    const double load = static_cast<double>(link->samples) / std::max(1.0, static_cast<double>(link->info().slots()));
    if (load < least) least = load, best = link.get();
  }
  return best;
}

void GrpcEngine::dispatch() {
  while (!parts_.empty()) {
    ServerLink* link = least_loaded();
    if (link == nullptr) return;
    Part part = parts_.front();
    parts_.pop_front();
    if (const int most = static_cast<int>(link->info().max_samples()); most > 0 && part.count > most) {
      Part rest = part;
      rest.first += most;
      rest.count -= most;
      part.count = most;
      parts_.push_front(rest);
    }
    start(*link, part);
  }
}

void GrpcEngine::start(ServerLink& link, const Part& part) {
  const auto flight = std::make_shared<GenerateFlight>(inbox_, link, part, next_call_++, asked_for_);
  to_wire(requests_.at(part.request).request, part.first, part.count, stream_, flight->request);
  flight->request.set_request_id(message(run_, "-", flight->number));
  if (asked_for_ > 0) to_wire(published_[asked_for_ - 1], *flight->request.mutable_expect());
  flight->missing = part.count;
  link.calls += 1;
  link.samples += part.count;
  flights_.insert(flight);
  flight->start(options_.call_timeout_s, options_.token);
}

// Calls that run have their own limit.
void GrpcEngine::check_stall() {
  if (parts_.empty() || !flights_.empty()) {
    idle_since_.reset();
    return;
  }
  if (!idle_since_) idle_since_ = Clock::now();
  if (seconds_since(*idle_since_) > options_.stall_timeout_s)
    throw Error(message("no rollout server took a request for ", options_.stall_timeout_s, " s (rollout.grpc.stall_timeout), ", parts_.size(), " wait: ", states()));
}

}  // namespace

std::unique_ptr<RolloutEngine> make_grpc_engine(GrpcEngineOptions options, const std::shared_ptr<const Tokenizer>& tokenizer) {
  if (options.weights && on_gpu(*options.weights)) {
    const std::string why = !options.weight_device ? options.no_weight_device : *options.weights == WeightWay::kNccl ? options.weight_device->nccl_missing() : std::string();
    if (!why.empty()) throw ConfigError(message("rollout.grpc.weights is ", name_of(*options.weights), ", which is not there: ", why, "; use auto"));
  }
  return std::make_unique<GrpcEngine>(std::move(options), tokenizer ? tokenizer_digest(*tokenizer) : std::string());
}

GrpcEngineCounts grpc_engine_counts(const RolloutEngine& engine) { return dynamic_cast<const GrpcEngine&>(engine).counts(); }

}  // namespace r1
