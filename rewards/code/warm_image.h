// What a warm interpreter is started with.
#pragma once

#include <string_view>

namespace r1::code {

std::string_view warm_module();  // the bytes of a shared object
const char* warm_script();       // Python text

}  // namespace r1::code
