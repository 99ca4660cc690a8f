// Between our structs and the messages of rollout.proto and weights.proto. For .cpp files of r1_rollout_rpc only: it names protobuf types.
#pragma once

#include <string>

#include "proto/weight_arena.h"
#include "proto/weight_way.h"
#include "rollout.pb.h"
#include "rollout/engine.h"
#include "text/tokenizer.h"
#include "weights.pb.h"

namespace r1 {

namespace wire_rollout = ::r1::rollout::v1;
namespace wire_weights = ::r1::weights::v1;

inline constexpr unsigned kRolloutProtocol = 1, kWeightsProtocol = 1;
inline constexpr const char* kJoinsMetadata = "r1-joins";  // of the server, before it joins a group of GPUs
inline constexpr int kWeightMessageBytes = 1 << 20;  // chunks are sent together up to here; one alone may have 4 MiB and a little

// `first` and `count`: the part of the request's samples that is asked for.
void to_wire(const RolloutRequest& request, int first, int count, bool stream, wire_rollout::GenerateRequest& out);
RolloutRequest from_wire(const wire_rollout::GenerateRequest& request);

void to_wire(const RolloutEvent& event, wire_rollout::GenerateReply& out);  // adds it
Completion from_wire(wire_rollout::Completion& completion);  // throws Error for one that is not whole

void to_wire(const WeightKey& key, wire_rollout::Weights& out);
// An empty digest reads as zeros. Throws Error for one of another length.
WeightKey from_wire(const wire_rollout::Weights& weights);

void to_wire(const WeightImage& image, WeightWay way, wire_weights::Header& out);  // a way of the host
// `way`: kCudaIpc or kNccl; then the group is still to be named.
void to_wire(const WeightKey& key, const WeightArena& arena, WeightWay way, wire_weights::Header& out);
DeviceHeader from_wire(const wire_weights::Device& device);
WeightReceiver::Header from_wire(const wire_weights::Header& header);  // throws WeightUpdateError
void to_wire(WeightChunk&& chunk, wire_weights::Chunk& out);
WeightChunk from_wire(wire_weights::Chunk& chunk);

// Of the bytes of every id: two tokenizers with the same one write the same texts.
std::string tokenizer_digest(const Tokenizer& tokenizer);

}  // namespace r1
