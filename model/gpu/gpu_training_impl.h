// Private to gpu_training*.cpp: what a pass keeps where.
#pragma once

#include <cstdint>
#include <vector>

#include "model/gpu/gpu_training.h"

namespace r1 {

struct GpuTraining::Pending {
  Pass pass;
  Buffers buffers;
  float temperature = 1.f;
  std::uint64_t epoch = 0;  // of the region, as the pass left it
};

}  // namespace r1
