// Private to kernels/: running code that the CPU or its hypervisor may refuse.
#pragma once

namespace r1::cpu {

// What trial() returns, or false if it faults (illegal instruction, bad address, arithmetic). Signal handlers are put back
// afterwards; faults of other threads meanwhile go where they always went. One call at a time.
bool runs_without_fault(bool (*trial)());

}  // namespace r1::cpu
