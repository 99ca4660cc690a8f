// Kernels can be captured into a CUDA graph, and a replay works on what the arrays hold then.
#include <cuda_runtime_api.h>

#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {

TEST_CASE("kernels, with their sums in two stages, replay from a graph with the bits of direct calls") {
  R1_NEEDS_GPU();
  const i64 n = 300, d = 896;
  const float eps = 1e-6f;
  const Array<float> x(n * d), rstd(n), d_x(n * d), dw(d);
  const Array<bf16> w(bf16s(d, 90, 0.3f, 1.f)), y(n * d);
  const Array<double> squares(1);
  const DeviceMemory scratch(row_sum_scratch_bytes(d)), reduce_scratch(reduce_scratch_bytes());
  const auto all = [&] {
    rms_norm(stream(), x, nullptr, n, d, w, eps, y, rstd);
    fill_bytes(stream(), dw, 0, size(d) * sizeof(float));
    rms_norm_backward(stream(), y, x, nullptr, rstd, w, n, d, d_x, true, dw, scratch.data());
    sum_of_squares(stream(), d_x, n * d, squares, reduce_scratch.data());
  };
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "capture");
  all();
  check(cudaStreamEndCapture(stream(), &graph), "capture");
  check(cudaGraphInstantiate(&replay, graph, 0), "graph");
  for (const std::uint64_t seed : {91, 92}) {
    x.set(floats(n * d, seed));
    all();
    const auto want_y = y.get();
    const auto want_dx = d_x.get(), want_dw = dw.get();
    const auto want_squares = squares.get();
    y.poison(), d_x.poison(), dw.poison(), squares.poison(), rstd.poison();
    check(cudaGraphLaunch(replay, stream()), "graph");
    CHECK(same_bits(y.get(), want_y));
    CHECK(same_bits(d_x.get(), want_dx));
    CHECK(same_bits(dw.get(), want_dw));
    CHECK(same_bits(squares.get(), want_squares));
  }
  cudaGraphExecDestroy(replay);
  cudaGraphDestroy(graph);
}

}  // namespace r1::gpu::test
