// Between box.cpp and isolation.cpp.
#pragma once

#include "rewards/code/box.h"

namespace r1::code {

Outcome run_unchecked(const Job& job, int landlock_abi);

}  // namespace r1::code
