#include "kernels/gpu/gemm.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <array>
#include <map>

#include "core/error.h"

namespace r1::gpu {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{64} << 20;

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) throw DeviceError(message(what, ": cuBLASLt says ", cublasLtGetStatusString(status)));
}

}  // namespace

// All in cuBLAS's own column-major words: d [rows][cols] = op(a) op(b) with summed length `depth`.
struct Problem {
  cublasOperation_t op_a, op_b;
  std::int64_t rows, cols, depth, lda, ldb, ldd;
  cudaDataType_t out;
  bool bias, accumulate, may_split;
  auto key() const {
    return std::array<std::int64_t, 11>{op_a, op_b, rows, cols, depth, lda, ldb, ldd, out, bias * 2 + accumulate, may_split};
  }
};

struct Blas::Impl {
  struct Plan {
    cublasLtMatmulDesc_t desc = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
    cublasLtMatmulAlgo_t algo{};
    std::size_t workspace = 0;
  };
  cublasLtHandle_t handle = nullptr;
  void* workspace = nullptr;
  std::map<std::array<std::int64_t, 11>, Plan> plans;

  Impl() {
    check(cublasLtCreate(&handle), "cublasLtCreate");
    if (cudaMalloc(&workspace, kWorkspaceBytes) != cudaSuccess) throw DeviceError(message("out of GPU memory: ", kWorkspaceBytes, " bytes of workspace"));
  }
  ~Impl() {
    for (auto& [key, p] : plans) {
      cublasLtMatrixLayoutDestroy(p.a), cublasLtMatrixLayoutDestroy(p.b), cublasLtMatrixLayoutDestroy(p.d);
      cublasLtMatmulDescDestroy(p.desc);
    }
    cudaFree(workspace);
    cublasLtDestroy(handle);
  }

  Plan& plan(const Problem& p) {
    const auto [it, is_new] = plans.try_emplace(p.key());
    Plan& plan = it->second;
    if (!is_new) return plan;
    check(cublasLtMatmulDescCreate(&plan.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    const auto set = [&](cublasLtMatmulDescAttributes_t what, const auto& value) {
      check(cublasLtMatmulDescSetAttribute(plan.desc, what, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.op_a);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.op_b);
    if (p.bias) set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    const auto layout = [](cublasLtMatrixLayout_t& l, cudaDataType_t type, std::int64_t rows, std::int64_t cols, std::int64_t ld) {
      check(cublasLtMatrixLayoutCreate(&l, type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols), ld), "cublasLtMatrixLayoutCreate");
    };
    layout(plan.a, CUDA_R_16BF, p.op_a == CUBLAS_OP_N ? p.rows : p.depth, p.op_a == CUBLAS_OP_N ? p.depth : p.rows, p.lda);
    layout(plan.b, CUDA_R_16BF, p.op_b == CUBLAS_OP_N ? p.depth : p.cols, p.op_b == CUBLAS_OP_N ? p.cols : p.depth, p.ldb);
    layout(plan.d, p.out, p.rows, p.cols, p.ldd);
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    const std::size_t bytes = p.may_split ? kWorkspaceBytes : 0;
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
    if (!p.may_split) {
      const std::uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE;
      cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &none, sizeof none);
    }
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, plan.desc, plan.a, plan.b, plan.d, plan.d, preference, 1, &found, &count);
    cublasLtMatmulPreferenceDestroy(preference);
    if (status != CUBLAS_STATUS_SUCCESS || count == 0)
      throw DeviceError(message("cuBLASLt has no algorithm for a product of ", p.rows, " x ", p.cols, " x ", p.depth, ": ", cublasLtGetStatusString(status)));
    plan.algo = found.algo;
    plan.workspace = found.workspaceSize;
    return plan;
  }

  void run(Stream s, const Problem& p, const bf16* a, const bf16* b, const void* c, void* d, const bf16* bias) {
    Plan& plan = this->plan(p);
    if (p.bias) check(cublasLtMatmulDescSetAttribute(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias), "bias pointer");
    const float alpha = 1.f, beta = p.accumulate ? 1.f : 0.f;
    check(cublasLtMatmul(handle, plan.desc, &alpha, a, plan.a, b, plan.b, &beta, p.accumulate ? c : d, plan.d, d, plan.d, &plan.algo, workspace,
                         plan.workspace, s),
          "cublasLtMatmul");
  }
};

Blas::Blas() : impl_(std::make_unique<Impl>()) {}
Blas::~Blas() = default;

void Blas::forward(Stream s, Matrix x, Matrix w, std::int64_t m, std::int64_t n, std::int64_t k, void* y, std::int64_t ldy, Out out,
                   const bf16* bias, const float* c) {
  R1_CHECK(!(bias && out == Out::kF32) && !(c && out == Out::kBf16), "a bias goes to bfloat16 results, a sum to float32 ones");
  if (m == 0) return;
  impl_->run(s, {CUBLAS_OP_T, CUBLAS_OP_N, n, m, k, w.ld, x.ld, ldy, out == Out::kBf16 ? CUDA_R_16BF : CUDA_R_32F, bias != nullptr, c != nullptr, false},
             w.data, x.data, c, y, bias);
}

void Blas::input_gradient(Stream s, Matrix dy, Matrix w, std::int64_t m, std::int64_t n, std::int64_t k, bf16* dx, std::int64_t ld_dx) {
  if (m == 0) return;
  impl_->run(s, {CUBLAS_OP_N, CUBLAS_OP_N, k, m, n, w.ld, dy.ld, ld_dx, CUDA_R_16BF, false, false, true}, w.data, dy.data, nullptr, dx, nullptr);
}

void Blas::weight_gradient(Stream s, Matrix dy, Matrix x, std::int64_t m, std::int64_t n, std::int64_t k, float* dw) {
  if (m == 0) return;
  impl_->run(s, {CUBLAS_OP_N, CUBLAS_OP_T, k, n, m, x.ld, dy.ld, k, CUDA_R_32F, false, true, true}, x.data, dy.data, dw, dw, nullptr);
}

}  // namespace r1::gpu
