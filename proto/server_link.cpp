#include "proto/server_link.h"

#include <algorithm>
#include <cmath>

#include "core/log.h"
#include "proto/grpc_channel.h"
#include "proto/grpc_token.h"

namespace r1 {
namespace {

using grpc::StatusCode;
constexpr double kDescribeTimeout = 5;  // seconds; it is answered from memory
constexpr auto kBehind = std::chrono::seconds(20);  // a rank may be behind another by: after it the server's weights are another run's

}  // namespace

bool hopeless(StatusCode code) {
  return code == StatusCode::UNAUTHENTICATED || code == StatusCode::PERMISSION_DENIED || code == StatusCode::UNIMPLEMENTED || code == StatusCode::INVALID_ARGUMENT;
}

std::string describe(const grpc::Status& status) {
  static constexpr const char* kNames[] = {"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
                                           "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
                                           "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};
  const auto code = static_cast<std::size_t>(status.error_code());
  return message(code < std::size(kNames) ? kNames[code] : "UNKNOWN", status.error_message().empty() ? "" : ": ", status.error_message());
}

std::chrono::system_clock::time_point deadline_in(double seconds) {
  using Clock = std::chrono::system_clock;
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

ServerLink::ServerLink(const GrpcEngineOptions& options, std::string address, std::string tokenizer, LinkShared& shared)
    : options_(options), address_(std::move(address)), tokenizer_(std::move(tokenizer)), shared_(shared),
      near_(is_loopback_address(address_)) {
  const auto channel = open_channel(address_, options.tls, options.max_message_mb << 20, 10);
  rollouts_ = wire_rollout::RolloutService::NewStub(channel);
  weights_ = wire_weights::WeightService::NewStub(channel);
  sender_ = std::make_unique<WeightSender>(*weights_, options.weight_device.get(), options.weights_timeout_s);
  thread_ = std::thread([this] { run(); });
}

ServerLink::~ServerLink() {
  {
    const std::lock_guard lock(shared_.mutex);
    stop_ = true;
    if (running_ != nullptr) running_->TryCancel();
  }
  shared_.changed.notify_all();
  thread_.join();
}

bool ServerLink::ready() const { return connected_ && up_to_date() && Clock::now() >= full_until_; }

void ServerLink::lost(const std::string& why) {
  if (connected_) since_ = Clock::now();
  connected_ = false;
  trouble_ = why;
  shared_.changed.notify_all();
}

void ServerLink::full() { full_until_ = Clock::now() + std::chrono::milliseconds(100); }

std::string ServerLink::state() const {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - since_).count();
  if (!connected_) return message(address_, ": not reached for ", seconds, " s", trouble_.empty() ? "" : ": ", trouble_);
  if (!up_to_date() && shared_.target) return message(address_, ": waited ", seconds, " s for it to take weights of ", to_string(shared_.target->key));
  if (!ready()) return message(address_, ": takes no more calls (RESOURCE_EXHAUSTED)");
  return message(address_, ": ", calls, " calls with ", samples, " samples run there");
}

void ServerLink::fail(const std::string& what) {
  if (!shared_.fatal) shared_.fatal = std::make_exception_ptr(ConfigError(message("rollout server ", address_, ": ", what)));
  stop_ = true;
  trouble_ = what;
  connected_ = false;
  shared_.changed.notify_all();
}

void ServerLink::pause(std::unique_lock<std::mutex>& lock, int failures) {
  const double seconds = std::min(2.0, 0.1 * std::pow(2.0, std::min(failures, 10)));
  shared_.changed.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return stop_; });
}

void ServerLink::run() {
  std::unique_lock lock(shared_.mutex);
  while (!stop_) {
    if (!connected_) connect(lock);
    else if (shared_.publishing) shared_.changed.wait(lock, [&] { return stop_ || !shared_.publishing; });
    else if (ahead()) shared_.changed.wait_for(lock, std::chrono::milliseconds(50));
    else if (!up_to_date()) update(lock);
    else shared_.changed.wait(lock, [&] { return stop_ || !connected_ || !up_to_date(); });
  }
}

std::string ServerLink::wrong_with(const wire_rollout::DescribeReply& info) const {
  if (info.protocol() != kRolloutProtocol) return message("it speaks protocol ", info.protocol(), " of rollout.proto, this program ", kRolloutProtocol);
  if (!tokenizer_.empty() && !info.has_tokenizer()) return "it has no tokenizer, so completions would have no text";
  if (!tokenizer_.empty() && info.tokenizer() != tokenizer_) return message("its model '", info.model(), "' has another tokenizer than model.path; serve the model that is trained");
  return {};
}

void ServerLink::connect(std::unique_lock<std::mutex>& lock) {
  grpc::ClientContext context;
  context.set_deadline(deadline_in(kDescribeTimeout));
  send_token(context, options_.token);
  wire_rollout::DescribeReply info;
  running_ = &context;
  lock.unlock();
  const grpc::Status status = rollouts_->Describe(&context, {}, &info);
  lock.lock();
  running_ = nullptr;
  if (stop_) return;
  if (!status.ok()) {
    trouble_ = r1::describe(status);
    if (hopeless(status.error_code())) return fail(message("Describe: ", trouble_));
    log_debug("rollout.server_down", {{"text", message(address_, ": ", trouble_)}});
    return pause(lock, failures_++);
  }
  if (const std::string wrong = wrong_with(info); !wrong.empty()) return fail(wrong);
  if (info_.instance() != info.instance()) log_info("rollout.server_up", {{"text", message("rollout server ", address_, ": ", info.model(), " on ", info.device())}});
  if (info_.instance() != info.instance()) sender_->leave();
  info_ = std::move(info);
  if (options_.weights)
    if (const std::string why = cannot_take(*options_.weights); !why.empty()) return fail(why);
  try {
    held_ = from_wire(info_.weights());
  } catch (const Error& e) {
    return fail(message("Describe: ", e.what()));
  }
  held_known_ = true;
  connected_ = true;
  if (up_to_date()) whole_next_ = false, used_ = true;
  failures_ = 0;
  since_ = connected_at_ = Clock::now();
  trouble_.clear();
  shared_.changed.notify_all();
}

bool ServerLink::up_to_date() const { return !shared_.publishing && (!shared_.target || (held_known_ && held_ == shared_.target->key)); }

bool ServerLink::ahead() const {
  return options_.shared_servers && used_ && shared_.target && held_known_ && held_.version > shared_.target->key.version && Clock::now() - connected_at_ < kBehind;
}

WeightWay ServerLink::best_way() const {
  if (options_.weights) return *options_.weights;
  const auto works = [&](WeightWay way) { return !failed_ways_.contains(way); };
  if (const WeightDevice* gpu = options_.weight_device.get(); gpu != nullptr && !shared_.no_gpu && !info_.gpu().empty()) {
    const bool same = info_.gpu() == gpu->id();
    if (same && works(WeightWay::kCudaIpc)) return WeightWay::kCudaIpc;
    // Between machines the change alone is mostly the faster one.
    if (!same && near_ && info_.nccl() && gpu->nccl_missing().empty() && works(WeightWay::kNccl)) return WeightWay::kNccl;
  }
  return near_ && works(WeightWay::kShared) ? WeightWay::kShared : WeightWay::kDelta;
}

std::string ServerLink::cannot_take(WeightWay way) const {
  const std::string wish = message("rollout.grpc.weights is ", name_of(way), ", ");
  if (way == WeightWay::kShared && !near_) return wish + "but it is on another machine";
  if (!on_gpu(way)) return {};
  if (info_.gpu().empty()) return wish + "but it computes on " + info_.device() + ", where no other process's GPU memory is taken";
  const bool same = info_.gpu() == options_.weight_device->id();
  if (way == WeightWay::kCudaIpc && !same) return wish + "but it is on another GPU than the learner; use nccl";
  if (way == WeightWay::kNccl && same) return wish + "but it is on the learner's GPU; use cuda_ipc";
  if (way == WeightWay::kNccl && !info_.nccl()) return wish + "but it was built without NCCL";
  return {};
}

// What this update goes by, with an image on the host where it needs one.
WeightWay ServerLink::choose_way(const std::shared_ptr<PublishedWeights>& weights, std::unique_lock<std::mutex>& lock) {
  WeightWay way = best_way();
  if (on_gpu(way)) {
    if (weights->arena) return way;
    way = near_ ? WeightWay::kShared : WeightWay::kDelta;  // published before it was known to have a GPU
  }
  if (!weights->image) {
    lock.unlock();
    const std::lock_guard one(shared_.image_making);
    lock.lock();
    if (!weights->image) {
      lock.unlock();
      auto image = std::make_shared<WeightImage>(weights->arena->download(weights->key.version), nullptr, nullptr, near_, &weights->key.digest);
      lock.lock();
      weights->image = std::move(image);
    }
  }
  const WeightImage& image = *weights->image;
  if (way == WeightWay::kShared && image.shared() != nullptr) return way;
  const bool changes = !options_.weights || *options_.weights != WeightWay::kWhole;
  return changes && !whole_next_ && held_known_ && image.delta() != nullptr && image.delta()->base == held_ ? WeightWay::kDelta : WeightWay::kWhole;
}

void ServerLink::update(std::unique_lock<std::mutex>& lock) {
  const std::shared_ptr<PublishedWeights> weights = shared_.target;
  struct Reader {  // the arena stays as it is meanwhile
    LinkShared& shared;
    explicit Reader(LinkShared& s) : shared(s) { ++shared.readers; }
    ~Reader() {
      --shared.readers;
      shared.changed.notify_all();
    }
  } reader{shared_};
  WeightWay way = WeightWay::kWhole;
  try {
    way = choose_way(weights, lock);
  } catch (const Error& e) {
    if (!lock.owns_lock()) lock.lock();
    return fail(e.what());
  }
  if (stop_) return;
  grpc::ClientContext context;
  context.set_deadline(deadline_in(options_.weights_timeout_s));
  send_token(context, options_.token);
  std::size_t bytes = 0;
  running_ = &context;
  lock.unlock();
  const grpc::Status status = sender_->send(*weights, way, context, bytes);
  lock.lock();
  running_ = nullptr;
  if (stop_) return;
  shared_.counts.update_bytes += bytes;
  if (status.ok()) return took(*weights, way);
  failed(weights, way, status, lock);
}

void ServerLink::took(const PublishedWeights& weights, WeightWay way) {
  held_ = weights.key;
  held_known_ = used_ = true;
  whole_next_ = false;
  damaged_ = 0;
  since_ = Clock::now();
  GrpcEngineCounts& n = shared_.counts;
  ++(way == WeightWay::kNccl ? n.nccl_updates : way == WeightWay::kCudaIpc ? n.ipc_updates : way == WeightWay::kShared ? n.shared_updates : way == WeightWay::kDelta ? n.delta_updates : n.whole_updates);
  const std::string by = way == WeightWay::kDelta || way == WeightWay::kWhole ? "over the wire" : "by " + name_of(way);
  if (by != told_way_) log_info("rollout.weights_way", {{"text", message("rollout server ", address_, " takes weights ", by)}});
  told_way_ = by;
  shared_.changed.notify_all();
}

// It is asked no more by this way: false where it was the only one allowed.
bool ServerLink::give_up_way(WeightWay way, const std::string& why) {
  if (options_.weights) return false;
  failed_ways_.insert(way);
  damaged_ = 0;
  log_warning("rollout.weights_way", {{"text", message("rollout server ", address_, " takes no weights by ", name_of(way), ", so they go by ", name_of(best_way()), ": ", why)}});
  return true;
}

void ServerLink::failed(const std::shared_ptr<PublishedWeights>& weights, WeightWay way, const grpc::Status& status, std::unique_lock<std::mutex>& lock) {
  const std::string what = message("update to weights of ", to_string(weights->key), ": ", r1::describe(status));
  log_debug("rollout.update_failed", {{"text", message(address_, ": ", what)}});
  held_known_ = false;
  if (way == WeightWay::kShared && status.error_code() != StatusCode::NOT_FOUND) {
    shared_.lingering.push_back(weights->image);
    if (shared_.lingering.size() > 4) shared_.lingering.pop_front();
  }
  const bool special = on_gpu(way) || way == WeightWay::kShared;
  switch (status.error_code()) {
    case StatusCode::NOT_FOUND:  // another machine or container behind a local address, no memory, no group
      if (!special || !give_up_way(way, status.error_message())) fail(what);
      return;
    case StatusCode::INTERNAL:
      if (!on_gpu(way) || !give_up_way(way, status.error_message())) fail(what);
      return;
    case StatusCode::FAILED_PRECONDITION:
      if (way == WeightWay::kNccl && ++damaged_ <= 3) return;  // it left the group: another one is made
      if (way != WeightWay::kDelta) return fail(what);
      whole_next_ = true;
      connected_ = false;  // it may have them already, from another rank of this run
      return;
    case StatusCode::DATA_LOSS:
      whole_next_ = true;
      if (++damaged_ > 3 && !(on_gpu(way) && give_up_way(way, status.error_message()))) return fail(what);
      return;
    case StatusCode::ABORTED:  // another update: of a call of ours that was cut off, or of another rank of this run
      connected_ = false;
      return pause(lock, 1);
    case StatusCode::UNAVAILABLE: case StatusCode::DEADLINE_EXCEEDED: case StatusCode::CANCELLED: case StatusCode::UNKNOWN:
      lost(what);
      return pause(lock, failures_++);
    default: return fail(what);
  }
}

}  // namespace r1
