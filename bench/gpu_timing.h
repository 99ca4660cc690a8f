// Times of a kernel inside a CUDA graph, so that launches cost what they cost in a decoding step.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <vector>

#include "kernels/gpu/device.h"

namespace r1 {

// call(0), ..., call(calls - 1) captured once and replayed: microseconds of one call in each of 11 replays after a first that warms
// up, sorted.
template <class Call>
std::vector<double> replay_us(gpu::OwnedStream& s, int calls, Call&& call) {
  constexpr int kReplays = 11;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  gpu::check(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal), "capture");
  for (int i = 0; i < calls; ++i) call(i);
  gpu::check(cudaStreamEndCapture(s, &graph), "capture");
  gpu::check(cudaGraphInstantiate(&replay, graph, 0), "graph");
  std::vector<double> us;
  for (int i = -1; i < kReplays; ++i) {
    gpu::Event begin, end;
    begin.record(s);
    gpu::check(cudaGraphLaunch(replay, s), "graph");
    end.record(s);
    end.synchronize();
    if (i >= 0) us.push_back(end.ms_since(begin) * 1e3 / calls);
  }
  cudaGraphExecDestroy(replay);
  cudaGraphDestroy(graph);
  std::sort(us.begin(), us.end());
  return us;
}

}  // namespace r1
