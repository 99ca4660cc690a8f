#include "proto/weight_service.h"

#include "core/log.h"
#include "proto/grpc_channel.h"
#include "proto/grpc_token.h"

namespace r1 {
namespace {

using Kind = WeightUpdateError::Kind;

grpc::StatusCode code_of(Kind kind) {
  switch (kind) {
    case Kind::kOther: return grpc::StatusCode::INVALID_ARGUMENT;
    case Kind::kStale: return grpc::StatusCode::FAILED_PRECONDITION;
    case Kind::kLost: return grpc::StatusCode::DATA_LOSS;
    case Kind::kUnreachable: return grpc::StatusCode::NOT_FOUND;
  }
  return grpc::StatusCode::INTERNAL;
}

}  // namespace

WeightService::WeightService(RolloutEngine& engine, const ServedRollout& served, std::string token)
    : engine_(engine), receiver_(served.layout), device_receiver_(served.weight_device, served.no_weight_device, served.layout, served.places),
      digest_of_engine_(served.digest_of_engine), token_(std::move(token)) {
  in_use_.version = engine_.weight_version();
}

WeightKey WeightService::in_use() const {
  const std::lock_guard lock(mutex_);
  return in_use_;
}

void WeightService::name_weights(Completion& completion) const {
  const std::lock_guard lock(mutex_);
  for (VersionRun& run : completion.version_runs) {
    const auto found = came_.find(run.version);
    if (found == came_.end()) {
      if (!digest_of_engine_) run.digest = {};
    } else if (!found->second.comparable || found->second.check == run.digest) {
      run.digest = found->second.name;
    }
  }
}

void WeightService::install(const WeightUpdateHeader& header, const WeightSnapshot& snapshot, bool comparable) {
  const WeightKey& key = header.key;
  {  // before the engine draws with them
    const std::lock_guard lock(mutex_);
    came_[key.version] = {key.digest, header.check, comparable};
    while (came_.size() > 16) came_.erase(came_.begin()->first == key.version ? std::next(came_.begin()) : came_.begin());
  }
  engine_.load_weights(snapshot);
  const std::lock_guard lock(mutex_);
  in_use_ = key;
}

WeightKey WeightService::receive(grpc::ServerContext& context, grpc::ServerReader<wire_weights::UpdatePart>& reader) {
  wire_weights::UpdatePart part;
  if (!reader.Read(&part) || !part.has_header()) throw WeightUpdateError(Kind::kOther, "an update begins with a header");
  const WeightReceiver::Header header = from_wire(part.header());
  if (part.header().has_shared()) {
    install(header, receiver_.map(header, {part.header().shared().process(), part.header().shared().file()}), digest_of_engine_);
    return header.key;
  }
  if (part.header().has_device()) {
    const auto joins = [&] {
      context.AddInitialMetadata(kJoinsMetadata, "1");
      reader.SendInitialMetadata();
    };
    const WeightSnapshot snapshot = device_receiver_.take(header, from_wire(part.header().device()), joins, [&] { return context.IsCancelled(); });
    receiver_.forget();
    install(header, snapshot, !digest_of_engine_);  // an engine on the GPU sums its memory up in the same way
    return header.key;
  }
  receiver_.begin(header);
  bool ended = false;
  while (!ended && reader.Read(&part)) {
    if (part.has_header()) throw WeightUpdateError(Kind::kOther, "a second header came in the middle of an update");
    if (part.has_chunks())
      for (wire_weights::Chunk& chunk : *part.mutable_chunks()->mutable_chunks()) receiver_.add(from_wire(chunk));
    ended = part.has_end();
  }
  if (!ended) throw WeightUpdateError(Kind::kLost, message("the stream was torn before ", receiver_.expected()));
  install(header, receiver_.finish(part.end().chunks()), digest_of_engine_);
  return header.key;
}

grpc::Status WeightService::Update(grpc::ServerContext* context, grpc::ServerReader<wire_weights::UpdatePart>* reader, wire_weights::UpdateReply* reply) {
  if (grpc::Status status = check_token(*context, token_); !status.ok()) return status;
  const std::unique_lock one(updating_, std::try_to_lock);
  if (!one) return {grpc::StatusCode::ABORTED, "another update of the weights is on its way"};
  WeightKey key;
  try {
    key = receive(*context, *reader);
  } catch (const WeightUpdateError& e) {
    ++failed;
    log_warning("weights.refused", {{"text", e.what()}, {"peer", context->peer()}});
    return {code_of(e.kind), valid_utf8(e.what())};
  } catch (const std::exception& e) {
    ++failed;
    return {grpc::StatusCode::INTERNAL, valid_utf8(e.what())};
  }
  ++updates;
  reply->set_version(key.version);
  reply->set_digest(std::string(key.digest.begin(), key.digest.end()));
  return grpc::Status::OK;
}

}  // namespace r1
