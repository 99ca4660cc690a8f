// What a launcher and a warm interpreter are started with.
#pragma once

#include <string_view>

namespace r1::code {

std::string_view box_launcher();  // the bytes of a program
std::string_view warm_module();  // the bytes of a shared object
const char* warm_script();       // Python text

}  // namespace r1::code
