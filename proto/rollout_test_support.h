// For tests: rollout servers over tiny models, in this process, that can be taken away and brought back at their port.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/weight_layout.h"
#include "model/transformer.h"
#include "model/weight_store.h"
#include "proto/grpc_engine.h"
#include "proto/rollout_server.h"
#include "rollout/local_engine.h"

namespace r1::test {

inline std::vector<TensorView> layout_of(const WeightStore& store) {
  std::vector<TensorView> out = store.snapshot(0).tensors;
  for (TensorView& t : out) t.data = nullptr;
  return out;
}

struct RolloutNodeOptions {
  ModelConfig config;
  DType dtype = DType::kBF16;
  std::uint64_t seed = 99;  // of the start weights
  std::shared_ptr<const Tokenizer> tokenizer;
  LocalEngineOptions engine;
  RolloutServerOptions server;
  int max_calls = 64;
  std::shared_ptr<WeightDevice> weight_device;
};

class RolloutNode {
 public:
  explicit RolloutNode(RolloutNodeOptions options) : options_(std::move(options)), pool_(1) { start(); }
  ~RolloutNode() { stop(); }
  void stop() { parts_.reset(); }  // calls that run are cut
  void start() {                   // with the start weights, at the same port
    parts_ = std::make_unique<Parts>(options_, pool_);
    options_.server.listen.address = "127.0.0.1:" + std::to_string(parts_->server.port());
  }
  std::string address() const { return options_.server.listen.address; }
  RolloutServer& server() { return parts_->server; }
  EngineLoop& loop() { return parts_->loop; }
  Transformer& model() { return parts_->model; }

 private:
  struct Parts {
    Parts(const RolloutNodeOptions& o, ComputePool& pool)
        : model(o.config, o.dtype, pool), engine((init(o, model), model), o.tokenizer, o.engine), loop(engine, o.max_calls),
          server(o.server, loop, engine, served(o, model)) {}
    static void init(const RolloutNodeOptions& o, Transformer& model) {
      init_random(model.weights(), o.seed, 0.2f);
      model.weights_changed();
    }
    static ServedRollout served(const RolloutNodeOptions& o, const Transformer& model) {
      ServedRollout s;
      s.model.name = "tiny";
      s.model.tokenizer = o.tokenizer;
      s.model.context = o.config.max_position_embeddings;
      s.device = "cpu";
      s.slots = o.engine.max_rows;
      s.layout = layout_of(model.weights());
      s.weight_device = o.weight_device;
      s.places = weight_places(o.config, o.dtype);
      return s;
    }
    Transformer model;
    LocalEngine engine;
    EngineLoop loop;
    RolloutServer server;
  };
  RolloutNodeOptions options_;
  ComputePool pool_;
  std::unique_ptr<Parts> parts_;
};

inline GrpcEngineOptions engine_options(const std::vector<std::string>& servers) {
  GrpcEngineOptions o;
  o.servers = servers;
  o.weights = WeightWay::kDelta;  // weights go over the wire
  o.start_timeout_s = 30;
  o.stall_timeout_s = 60;
  return o;
}

}  // namespace r1::test
