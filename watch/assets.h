// The page of `r1 watch`: page.html, app.css (after report/page.css) and app.js (after report/page.js), compiled in.
#pragma once

#include <string_view>

namespace r1::watch {

std::string_view page_html();
std::string_view app_css();
std::string_view app_js();

}  // namespace r1::watch
