// Which program this is.
#pragma once

namespace r1 {

const char* version();     // "0.1.0"
const char* git_commit();  // "c2ba591", with "+" if the tree had changes; "" when built outside a checkout

}  // namespace r1
