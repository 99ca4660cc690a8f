// What the service did, in Prometheus's text format.
#pragma once

#include <string>

#include "proto/engine_loop.h"

namespace r1 {

std::string prometheus_text(const EngineLoopCounts& calls, const EngineStats& engine, WeightVersion version);

}  // namespace r1
