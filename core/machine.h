// Which machine this is, for measurements.
#pragma once

#include <string>

namespace r1 {

std::string cpu_name();  // "AMD EPYC", "CPU" where the kernel does not say

}  // namespace r1
