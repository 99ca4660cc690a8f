// The kernels for Isa::kPortable; compiled with that set's flags (CMakeLists.txt).
#define R1_ISA portable
#include "kernels/isa/make_table.h"

namespace r1::cpu {
constexpr Table kPortableTable = portable::make_table(Isa::kPortable, portable::trial);
}  // namespace r1::cpu
