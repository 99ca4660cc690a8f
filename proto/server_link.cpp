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
      shares_(options.shared_memory && is_loopback_address(address_)) {
  const auto channel = open_channel(address_, options.tls, options.max_message_mb << 20, 10);
  rollouts_ = wire_rollout::RolloutService::NewStub(channel);
  weights_ = wire_weights::WeightService::NewStub(channel);
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
  if (!up_to_date()) return message(address_, ": waited ", seconds, " s for it to take weights of ", to_string(shared_.target->key()));
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
  info_ = std::move(info);
  try {
    held_ = from_wire(info_.weights());
  } catch (const Error& e) {
    return fail(message("Describe: ", e.what()));
  }
  held_known_ = true;
  connected_ = true;
  if (up_to_date()) whole_next_ = false;
  failures_ = 0;
  since_ = Clock::now();
  trouble_.clear();
  shared_.changed.notify_all();
}

void ServerLink::update(std::unique_lock<std::mutex>& lock) {
  const std::shared_ptr<const WeightImage> image = shared_.target;
  const bool delta = !whole_next_ && held_known_ && image->delta() != nullptr && image->delta()->base == held_;
  const WeightWay way = shares_ && image->shared() != nullptr ? WeightWay::kShared : delta ? WeightWay::kDelta : WeightWay::kWhole;
  grpc::ClientContext context;
  context.set_deadline(deadline_in(options_.weights_timeout_s));
  send_token(context, options_.token);
  std::size_t bytes = 0;
  running_ = &context;
  lock.unlock();
  const grpc::Status status = send(*image, way, context, bytes);
  lock.lock();
  running_ = nullptr;
  if (stop_) return;
  shared_.counts.update_bytes += bytes;
  const std::string what = message("update to weights of ", to_string(image->key()), ": ", r1::describe(status));
  if (status.ok()) {
    held_ = image->key();
    held_known_ = true;
    whole_next_ = false;
    damaged_ = 0;
    since_ = Clock::now();
    ++(way == WeightWay::kShared ? shared_.counts.shared_updates : way == WeightWay::kDelta ? shared_.counts.delta_updates : shared_.counts.whole_updates);
    shared_.changed.notify_all();
    return;
  }
  log_debug("rollout.update_failed", {{"text", message(address_, ": ", what)}});
  held_known_ = false;
  if (way == WeightWay::kShared) {
    if (status.error_code() == StatusCode::NOT_FOUND) {
      shares_ = false;  // another machine or container behind a local address
      return;
    }
    shared_.lingering.push_back(image);
    if (shared_.lingering.size() > 4) shared_.lingering.pop_front();
  }
  switch (status.error_code()) {
    case StatusCode::FAILED_PRECONDITION:
      if (way != WeightWay::kDelta) return fail(what);
      whole_next_ = true;
      connected_ = false;  // it may have them already, from another rank of this run
      return;
    case StatusCode::DATA_LOSS:
      whole_next_ = true;
      if (++damaged_ > 3) return fail(what);
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

grpc::Status ServerLink::send(const WeightImage& image, WeightWay way, grpc::ClientContext& context, std::size_t& bytes) {
  wire_weights::UpdateReply reply;
  const auto writer = weights_->Update(&context, &reply);
  wire_weights::UpdatePart part;
  to_wire(image, way, *part.mutable_header());
  bool open = writer->Write(part);
  part.Clear();
  std::uint32_t chunks = 0;
  std::size_t together = 0;
  const auto flush = [&] {
    if (together == 0 || !open) return;
    open = writer->Write(part);
    bytes += together;
    part.Clear();
    together = 0;
  };
  const auto add = [&](WeightChunk&& chunk) {
    if (together + chunk.data.size() > static_cast<std::size_t>(kWeightMessageBytes)) flush();
    together += chunk.data.size();
    to_wire(std::move(chunk), *part.mutable_chunks()->add_chunks());
    ++chunks;
  };
  if (way == WeightWay::kDelta) {
    for (const WeightChunk& chunk : image.delta()->chunks) {
      if (!open) break;
      add(WeightChunk(chunk));
    }
  } else if (way == WeightWay::kWhole) {
    const auto tensors = image.tensors();
    for (std::uint32_t t = 0; t < tensors.size(); ++t)
      for (std::uint64_t first = 0; open && first < static_cast<std::uint64_t>(tensors[t].elements()); first += kChunkElements) add(image.whole_chunk(t, first));
  }
  flush();
  if (open && way != WeightWay::kShared) {
    part.mutable_end()->set_chunks(chunks);
    writer->Write(part);
  }
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  if (!status.ok()) return status;
  const WeightDigest& digest = image.key().digest;
  if (reply.version() == image.key().version && reply.digest() == std::string(digest.begin(), digest.end())) return status;
  return {StatusCode::DATA_LOSS, message("it answers that it has version ", reply.version())};
}

}  // namespace r1
