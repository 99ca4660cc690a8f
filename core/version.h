// The program's version, for --version, environment.json and file formats.
#pragma once

namespace r1 {
inline constexpr const char* kVersion = "0.1.0";
}
