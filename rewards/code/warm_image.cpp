// The warm interpreter's module and script as bytes of this library, so that neither must be found on disk.
#include "rewards/code/warm_image.h"

// Assembled with the paths of the built module and of the script.
__asm__(
    ".section .rodata\n"
    ".balign 16\n"
    "r1_warm_module:\n.incbin \"" R1_WARM_MODULE "\"\n"
    "r1_warm_module_end:\n"
    "r1_warm_script:\n.incbin \"" R1_WARM_SCRIPT "\"\n"
    ".byte 0\n"
    "r1_warm_script_end:\n"
    ".previous\n");

extern "C" {
extern const char r1_warm_module[] __attribute__((visibility("hidden")));
extern const char r1_warm_module_end[] __attribute__((visibility("hidden")));
extern const char r1_warm_script[] __attribute__((visibility("hidden")));
}

namespace r1::code {

std::string_view warm_module() { return {r1_warm_module, static_cast<std::size_t>(r1_warm_module_end - r1_warm_module)}; }
const char* warm_script() { return r1_warm_script; }

}  // namespace r1::code
