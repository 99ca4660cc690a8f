// The kernels for Isa::kAvx512Bf16; compiled with that set's flags (CMakeLists.txt).
#define R1_ISA avx512bf16
#include "kernels/isa/make_table.h"

namespace r1::cpu {
constexpr Table kAvx512Bf16Table = avx512bf16::make_table(Isa::kAvx512Bf16, avx512bf16::trial);
}  // namespace r1::cpu
