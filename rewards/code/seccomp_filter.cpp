#include "rewards/code/seccomp_filter.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "core/error.h"

namespace r1::code {
namespace {

// Names, not numbers: libseccomp knows which of them an architecture has.
constexpr const char* kAllowed[] = {
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "open",
    "openat", "close", "close_range", "stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "poll",
    "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
    "epoll_pwait2", "eventfd", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd",
    "signalfd4", "inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "lseek", "mmap", "munmap",
    "mprotect", "mremap", "madvise", "brk", "msync", "mincore", "membarrier", "rseq", "futex", "futex_waitv",
    "set_robust_list", "get_robust_list", "set_tid_address", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend", "rt_sigqueueinfo", "sigaltstack", "kill", "tkill", "tgkill",
    "pause", "alarm", "setitimer", "getitimer", "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun",
    "timer_delete", "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "times",
    "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "pidfd_open",
    "pidfd_send_signal", "getpid", "getppid", "gettid", "getpgid", "getpgrp", "getsid", "setpgid", "setsid", "getuid",
    "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "setuid", "setgid", "setresuid",
    "setresgid", "capget", "uname", "sysinfo", "getrusage", "getrlimit", "setrlimit", "prlimit64", "getpriority",
    "setpriority", "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_getscheduler",
    "sched_get_priority_min", "sched_get_priority_max", "sched_getattr", "getcpu", "getrandom", "arch_prctl", "prctl",
    "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "chdir", "fchdir", "getdents",
    "getdents64", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link",
    "linkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "umask",
    "truncate", "ftruncate", "fallocate", "fsync", "fdatasync", "sync_file_range", "utime", "utimes", "utimensat",
    "futimesat", "creat", "flock", "fadvise64", "readahead", "copy_file_range", "sendfile", "splice", "tee", "dup",
    "dup2", "dup3", "pipe", "pipe2", "fcntl", "ioctl", "getxattr", "lgetxattr", "fgetxattr", "listxattr",
    "socketpair", "connect", "accept", "accept4", "bind", "listen", "getsockname", "getpeername", "getsockopt",
    "setsockopt", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "shutdown", "restart_syscall",
    "mlock", "munlock", "get_mempolicy",
};
// No honest program makes these; whoever does is stopped at once, and the verdict says so.
constexpr const char* kAttacks[] = {
    "ptrace", "process_vm_readv", "process_vm_writev", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns",
    "bpf", "keyctl", "add_key", "request_key", "init_module", "finit_module", "delete_module", "kexec_load",
    "kexec_file_load", "reboot", "swapon", "swapoff", "open_by_handle_at", "name_to_handle_at", "userfaultfd", "iopl",
    "ioperm", "settimeofday", "clock_settime", "adjtimex", "acct", "quotactl", "fsopen", "fsmount", "fsconfig",
    "move_mount", "open_tree", "mount_setattr", "sethostname", "setdomainname", "pidfd_getfd", "kcmp", "vhangup",
    "process_madvise", "move_pages", "migrate_pages", "perf_event_open",
};

void must(int rc, const char* what) {
  if (rc < 0) throw Error(message("the code runner's seccomp filter: ", what, " failed with errno ", -rc));
}

void add(scmp_filter_ctx ctx, std::uint32_t action, const char* name) {
  const int nr = seccomp_syscall_resolve_name(name);
  if (nr == __NR_SCMP_ERROR) return;  // libseccomp is older than the call: the default action refuses it
  const int rc = seccomp_rule_add(ctx, action, nr, 0);
  if (rc != -EDOM) must(rc, name);
}

std::vector<sock_filter> build() {
  // ENOSYS by default: libraries fall back from new calls (clone3, io_uring, memfd_create) to older ones. memfd and
  // SysV memory are refused because their unmapped pages belong to no process that a guard could count.
  scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
  if (!ctx) throw Error("the code runner's seccomp filter: no memory");
  struct Free {
    scmp_filter_ctx c;
    ~Free() { seccomp_release(c); }
  } free{ctx};
  must(seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "other ABIs");
  (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a tree instead of a list; newer libseccomp only
  for (const char* name : kAllowed) add(ctx, SCMP_ACT_ALLOW, name);
  for (const char* name : kAttacks) add(ctx, SCMP_ACT_KILL_PROCESS, name);
  for (const char* name : {"mknod", "mknodat", "setgroups", "capset", "sched_setscheduler", "sched_setattr", "mlockall"})
    add(ctx, SCMP_ACT_ERRNO(EPERM), name);
  // Threads and processes, but no namespaces. (clone3 hides its flags in memory, so it does not exist here.)
  constexpr std::uint64_t kNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                        CLONE_NEWPID | CLONE_NEWNET;
  must(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, kNamespaces, 0)), "clone");
  must(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX)), "socket");
  must(seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX)), "socket");

  const int fd = memfd_create("r1-seccomp", MFD_CLOEXEC);
  if (fd < 0) throw Error(message("the code runner's seccomp filter: memfd_create failed with errno ", errno));
  const int rc = seccomp_export_bpf(ctx, fd);
  const off_t size = rc == 0 ? lseek(fd, 0, SEEK_END) : 0;
  std::vector<sock_filter> program(static_cast<std::size_t>(size) / sizeof(sock_filter));
  const ssize_t got = pread(fd, program.data(), static_cast<std::size_t>(size), 0);
  close(fd);
  must(rc, "export");
  if (got != size || program.empty()) throw Error("the code runner's seccomp filter: could not be read back");
  return program;
}

}  // namespace

const std::vector<sock_filter>& program_filter() {
  static const std::vector<sock_filter> program = build();
  return program;
}

}  // namespace r1::code
