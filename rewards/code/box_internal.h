// Between the files of the box.
#pragma once

#include <string>
#include <vector>

#include "rewards/code/box.h"

namespace r1::code {

Outcome run_unchecked(const Job& job, int landlock_abi);
std::vector<std::string> box_environment();  // "NAME=value", of every program

}  // namespace r1::code
