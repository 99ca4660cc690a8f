// The kernels for Isa::kAvx2; compiled with that set's flags (CMakeLists.txt).
#define R1_ISA avx2
#include "kernels/isa/make_table.h"

namespace r1::cpu {
constexpr Table kAvx2Table = avx2::make_table(Isa::kAvx2, avx2::trial);
}  // namespace r1::cpu
