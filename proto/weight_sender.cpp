#include "proto/weight_sender.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "proto/grpc_channel.h"

namespace r1 {
namespace {

using grpc::StatusCode;

// Of a message between GPUs: large enough for a link's full speed, small enough to say where an update was torn.
constexpr std::uint64_t kPiece = std::uint64_t{64} << 20;

grpc::Status broken(const std::string& what) { return {StatusCode::INTERNAL, valid_utf8(what)}; }

}  // namespace

void WeightSender::leave() {
  if (communicator_) communicator_->abort();  // the other end may be gone: nothing is waited for
  communicator_.reset();
  group_.clear();
}

grpc::Status WeightSender::send(const PublishedWeights& weights, WeightWay way, grpc::ClientContext& context, std::size_t& bytes) {
  wire_weights::UpdatePart part;
  try {
    if (on_gpu(way)) to_wire(weights.key, *weights.arena, way, *part.mutable_header());
    else to_wire(*weights.image, way, *part.mutable_header());
    if (way == WeightWay::kNccl) {
      wire_weights::Device& d = *part.mutable_header()->mutable_device();
      d.set_joined(communicator_ != nullptr);
      if (!communicator_) group_ = device_->new_group();
      d.set_group(group_);
      d.set_piece(kPiece);
    }
  } catch (const Error& e) {
    return broken(e.what());
  }
  wire_weights::UpdateReply reply;
  const auto writer = stub_.Update(&context, &reply);
  grpc::Status status;
  if (way == WeightWay::kNccl) {
    status = send_to_group(*weights.arena, context, *writer, part);
  } else {
    if (writer->Write(part) && !on_gpu(way) && way != WeightWay::kShared) send_chunks(*weights.image, way, *writer, bytes);
    writer->WritesDone();
    status = writer->Finish();
  }
  if (!status.ok()) return status;
  const WeightDigest& digest = weights.key.digest;
  if (reply.version() == weights.key.version && reply.digest() == std::string(digest.begin(), digest.end())) return status;
  return {StatusCode::DATA_LOSS, message("it answers that it has version ", reply.version())};
}

void WeightSender::send_chunks(const WeightImage& image, WeightWay way, Writer& writer, std::size_t& bytes) {
  wire_weights::UpdatePart part;
  std::uint32_t chunks = 0;
  std::size_t together = 0;
  bool open = true;
  const auto flush = [&] {
    if (together == 0 || !open) return;
    open = writer.Write(part);
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
  } else {
    const auto tensors = image.tensors();
    for (std::uint32_t t = 0; t < tensors.size(); ++t)
      for (std::uint64_t first = 0; open && first < static_cast<std::uint64_t>(tensors[t].elements()); first += kChunkElements) add(image.whole_chunk(t, first));
  }
  flush();
  if (!open) return;
  part.mutable_end()->set_chunks(chunks);
  writer.Write(part);
}

// The server says by its first metadata that it joins; its status is waited for beside the messages, so that its refusal or death ends them.
grpc::Status WeightSender::send_to_group(const WeightArena& arena, grpc::ClientContext& context, Writer& writer, wire_weights::UpdatePart& header) {
  if (writer.Write(header)) writer.WaitForInitialMetadata();
  if (!context.GetServerInitialMetadata().contains(kJoinsMetadata)) {
    writer.WritesDone();
    const grpc::Status status = writer.Finish();
    leave();
    return status.ok() ? broken("the server took the header of an update and joined no group") : status;
  }
  refused_ = false;
  grpc::Status status;
  std::thread answer([&] {
    writer.WritesDone();
    status = writer.Finish();
    if (!status.ok()) refused_ = true;
  });
  std::string trouble;
  try {
    if (!communicator_) {
      Communicator::Options options;
      options.timeout_s = timeout_s_;
      options.give_up = [this] { return refused_.load(); };
      communicator_ = device_->join(group_, 0, options);
    }
    for (std::uint64_t at = 0; at < arena.places().bytes; at += kPiece)
      communicator_->send(1, arena.data() + at, std::min(kPiece, arena.places().bytes - at), "new weights");
  } catch (const Error& e) {
    trouble = e.what();
    leave();
    // If the server is the cause, its status is on the way, and says more.
    for (int i = 0; i < 100 && !refused_; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (refused_) trouble.clear();
    else context.TryCancel();
  }
  answer.join();
  if (!status.ok()) leave();
  return trouble.empty() ? status : broken(trouble);
}

}  // namespace r1
