// page.css and page.js as the build found them.
#pragma once

#include <string_view>

namespace r1::report {

std::string_view page_css();
std::string_view page_js();

}  // namespace r1::report
