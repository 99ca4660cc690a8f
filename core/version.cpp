#include "core/version.h"

#include "r1_git_commit.inc"  // written by git_commit.cmake in each build

namespace r1 {

const char* version() { return R1_VERSION; }
const char* git_commit() { return R1_GIT_COMMIT; }

}  // namespace r1
