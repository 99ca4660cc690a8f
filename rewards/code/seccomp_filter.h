// The system calls a judged program may make, as a filter for the running architecture; other ABIs (i386, x32) are
// killed by it. Built once by libseccomp and only loaded after clone(), where libseccomp may no longer allocate.
#pragma once

#include <linux/filter.h>

#include <vector>

namespace r1::code {

// Allowed calls pass; attacks (ptrace, mount, bpf, ...) kill the process with SIGSYS; the rest fail with ENOSYS or
// EPERM, as on a kernel without them. Throws Error if libseccomp refuses.
const std::vector<sock_filter>& program_filter();

}  // namespace r1::code
