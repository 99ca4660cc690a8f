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

WeightService::WeightService(RolloutEngine& engine, std::vector<TensorView> layout, std::string token)
    : engine_(engine), receiver_(std::move(layout)), token_(std::move(token)) {
  in_use_.version = engine_.weight_version();
}

WeightKey WeightService::in_use() const {
  const std::lock_guard lock(mutex_);
  return in_use_;
}

WeightDigest WeightService::digest_of(WeightVersion version) const {
  const std::lock_guard lock(mutex_);
  const auto found = digests_.find(version);
  return found == digests_.end() ? WeightDigest{} : found->second;
}

void WeightService::install(const WeightKey& key, const WeightSnapshot& snapshot) {
  {  // before the engine draws with them
    const std::lock_guard lock(mutex_);
    digests_[key.version] = key.digest;
    while (digests_.size() > 16) digests_.erase(digests_.begin()->first == key.version ? std::next(digests_.begin()) : digests_.begin());
  }
  engine_.load_weights(snapshot);
  const std::lock_guard lock(mutex_);
  in_use_ = key;
}

WeightKey WeightService::receive(grpc::ServerReader<wire_weights::UpdatePart>& reader) {
  wire_weights::UpdatePart part;
  if (!reader.Read(&part) || !part.has_header()) throw WeightUpdateError(Kind::kOther, "an update begins with a header");
  const WeightReceiver::Header header = from_wire(part.header());
  if (part.header().has_shared()) {
    install(header.key, receiver_.map(header, {part.header().shared().process(), part.header().shared().file()}));
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
  install(header.key, receiver_.finish(part.end().chunks()));
  return header.key;
}

grpc::Status WeightService::Update(grpc::ServerContext* context, grpc::ServerReader<wire_weights::UpdatePart>* reader, wire_weights::UpdateReply* reply) {
  if (grpc::Status status = check_token(*context, token_); !status.ok()) return status;
  const std::unique_lock one(updating_, std::try_to_lock);
  if (!one) return {grpc::StatusCode::ABORTED, "another update of the weights is on its way"};
  WeightKey key;
  try {
    key = receive(*reader);
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
