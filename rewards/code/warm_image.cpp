// What boxes are copied out of, as bytes of this library, so that nothing of it must be found on disk.
#include "rewards/code/warm_image.h"

// Assembled with the paths of the built module and of the script.
__asm__(
    ".section .rodata\n"
    ".balign 16\n"
    "r1_warm_module:\n.incbin \"" R1_WARM_MODULE "\"\n"
    "r1_warm_module_end:\n"
    "r1_box_launcher:\n.incbin \"" R1_BOX_LAUNCHER "\"\n"
    "r1_box_launcher_end:\n"
    "r1_warm_script:\n.incbin \"" R1_WARM_SCRIPT "\"\n"
    ".byte 0\n"
    "r1_warm_script_end:\n"
    ".previous\n");

extern "C" {
extern const char r1_warm_module[] __attribute__((visibility("hidden")));
extern const char r1_warm_module_end[] __attribute__((visibility("hidden")));
extern const char r1_box_launcher[] __attribute__((visibility("hidden")));
extern const char r1_box_launcher_end[] __attribute__((visibility("hidden")));
extern const char r1_warm_script[] __attribute__((visibility("hidden")));
}

namespace r1::code {

std::string_view warm_module() { return {r1_warm_module, static_cast<std::size_t>(r1_warm_module_end - r1_warm_module)}; }
std::string_view box_launcher() { return {r1_box_launcher, static_cast<std::size_t>(r1_box_launcher_end - r1_box_launcher)}; }
const char* warm_script() { return r1_warm_script; }

}  // namespace r1::code
