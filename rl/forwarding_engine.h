// For tests: an engine that passes everything on to another, to be changed in one place.
#pragma once

#include <functional>
#include <utility>

#include "rollout/engine.h"

namespace r1::test {

class ForwardingEngine : public RolloutEngine {
 public:
  explicit ForwardingEngine(RolloutEngine& inner) : inner_(inner) {}  // outlives this
  RequestId submit(RolloutRequest request) override { return inner_.submit(std::move(request)); }
  void cancel(RequestId id) override { inner_.cancel(id); }
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream) override { inner_.wait(on_event, stream); }
  void load_weights(const WeightSnapshot& snapshot) override { inner_.load_weights(snapshot); }
  WeightVersion weight_version() const override { return inner_.weight_version(); }
  EngineStats stats() const override { return inner_.stats(); }

 protected:
  RolloutEngine& inner_;
};

}  // namespace r1::test
