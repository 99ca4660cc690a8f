#include "proto/generate_stream.h"

namespace r1 {
namespace {

constexpr std::size_t kMessageBytes = 256 << 10;  // then the rest goes into the next message

grpc::Status failure_of(const EngineLoop::Event& e) {
  return {e.refused ? grpc::StatusCode::INVALID_ARGUMENT : grpc::StatusCode::INTERNAL, valid_utf8(e.failure)};
}

const grpc::Status kCancelled{grpc::StatusCode::CANCELLED, "the call was cancelled"};

}  // namespace

GenerateStream* GenerateStream::refuse(grpc::Status status) {
  auto stream = std::make_shared<GenerateStream>();
  stream->self_ = stream;
  stream->finished_ = true;
  GenerateStream* out = stream.get();
  out->Finish(std::move(status));
  return out;
}

std::shared_ptr<GenerateStream> GenerateStream::start(EngineLoop& loop, RolloutRequest request, bool stream, CompletionEdit edit,
                                                      std::function<void(const GenerateStream*)> on_end) {
  auto out = std::make_shared<GenerateStream>();
  out->edit_ = std::move(edit);
  std::vector<RolloutRequest> requests;
  requests.push_back(std::move(request));
  {
    const std::lock_guard lock(out->mutex_);  // a first event may come before the call is known here
    out->call_ = loop.submit(std::move(requests), stream, [weak = std::weak_ptr(out)] {
      if (const auto self = weak.lock()) self->pump();
    });
    if (!out->call_) return nullptr;
    out->on_end_ = std::move(on_end);
    out->self_ = out;
  }
  out->pump();
  return out;
}

void GenerateStream::cancel() {
  const std::lock_guard lock(mutex_);
  if (call_) call_->cancel();
}

// With mutex_ held. What has come, as far as a message takes it; false if there is nothing to send.
bool GenerateStream::fill() {
  reply_.Clear();
  bool any = false;
  for (std::size_t bytes = 0; bytes < kMessageBytes && !last_;) {
    std::optional<EngineLoop::Event> event = call_->next(std::chrono::milliseconds(0));
    if (!event) break;
    if (!event->failure.empty()) {
      status_ = failure_of(*event);
      last_ = true;
      break;
    }
    RolloutEvent& e = event->event;
    if (edit_ && e.kind == RolloutEvent::Kind::kFinished) edit_(e.completion);
    to_wire(e, reply_);
    any = true;
    bytes += 9 * (e.tokens.size() + e.completion.tokens.size()) + e.text.size() + e.completion.text.size() + 64;
    last_ = call_->unfinished() == 0;
  }
  return any;
}

void GenerateStream::pump() {
  std::unique_lock lock(mutex_);
  if (writing_ || finished_ || !call_) return;
  if (fill()) {
    writing_ = true;
    lock.unlock();
    StartWrite(&reply_);
  } else if (last_) {
    finished_ = true;
    lock.unlock();
    Finish(status_);
  }
}

void GenerateStream::OnWriteDone(bool ok) {
  std::unique_lock lock(mutex_);
  writing_ = false;
  if (!ok || last_) {
    finished_ = true;
    const grpc::Status status = ok ? status_ : kCancelled;
    lock.unlock();
    Finish(status);
    return;
  }
  lock.unlock();
  pump();
}

void GenerateStream::OnCancel() {
  std::unique_lock lock(mutex_);
  call_.reset();
  last_ = true;
  status_ = kCancelled;
  if (writing_ || finished_) return;
  finished_ = true;
  lock.unlock();
  Finish(kCancelled);
}

void GenerateStream::OnDone() {
  std::shared_ptr<GenerateStream> self;
  {
    const std::lock_guard lock(mutex_);
    call_.reset();
    self = std::move(self_);
  }
  if (on_end_) on_end_(this);
}

}  // namespace r1
