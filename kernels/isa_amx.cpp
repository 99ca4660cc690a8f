// The kernels for Isa::kAmx: bf16 products on tiles, everything else as AVX512-BF16.
#define R1_ISA amx
#include "kernels/isa/amx_gemm.h"

namespace r1::cpu {
namespace amx {
constexpr Table make_amx_table() {
  Table t = make_table(Isa::kAmx, amx_trial);
  t.peak = amx_peak;
  t.step_multiple = kTileSteps;
  t.row_unit = kAmxRows;
  t.row_cut = 128;
  t.bf16_columns = kHalfColumns;
  t.gemm_scratch = amx_gemm_scratch;
  t.gemm = amx_gemm;
  t.pack = amx_pack;
  t.pack_transposed = amx_pack_transposed;
  return t;
}
}  // namespace amx
constexpr Table kAmxTable = amx::make_amx_table();
}  // namespace r1::cpu
