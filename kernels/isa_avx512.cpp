// The kernels for Isa::kAvx512; compiled with that set's flags (CMakeLists.txt).
#define R1_ISA avx512
#include "kernels/isa/make_table.h"

namespace r1::cpu {
constexpr Table kAvx512Table = avx512::make_table(Isa::kAvx512, avx512::trial);
}  // namespace r1::cpu
