#include "rewards/code/box_child.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <initializer_list>

namespace r1::code {
namespace {

[[noreturn]] void fail(const BoxPlan& plan, const char* step) {
  BoxReport report;
  report.status = errno;
  std::strncpy(report.step, step, sizeof report.step - 1);
  (void)!write(plan.report_fd, &report, sizeof report);
  _exit(1);
}

bool write_all(int fd, const char* data, std::uint64_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<std::uint64_t>(n);
  }
  return true;
}

// Read-only with everything below it: bind, then one call that reaches sub-mounts too (Linux 5.12); older kernels get
// a bind that is remounted, which covers the top mount alone.
bool bind_read_only(const char* from, const char* to) {
  if (mount(from, to, nullptr, MS_BIND | MS_REC, nullptr) != 0) return false;
  struct { std::uint64_t set, clear, propagation, userns; } attributes = {0x1 | 0x2 | 0x4, 0, 0, 0};  // ro nosuid nodev
  if (syscall(SYS_mount_setattr, AT_FDCWD, to, 0x8000 /* AT_RECURSIVE */, &attributes, sizeof attributes) == 0) return true;
  return mount(nullptr, to, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) == 0;
}

// On merged-usr systems /bin and /lib are links into /usr; elsewhere they are folders to bind.
void toolchain_dir(const BoxPlan& plan, const char* from, const char* to) {
  struct stat st;
  if (lstat(from, &st) != 0) return;
  if (S_ISLNK(st.st_mode)) {
    char target[256];
    const ssize_t n = readlink(from, target, sizeof target - 1);
    if (n <= 0) return;
    target[n] = 0;
    if (symlink(target, to) != 0) fail(plan, "symlink");
    return;
  }
  if (mkdir(to, 0755) != 0 || !bind_read_only(from, to)) fail(plan, "bind toolchain");
}

void bind_file(const BoxPlan& plan, const char* from, const char* to, bool required) {
  const int fd = open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) fail(plan, "create bind target");
  close(fd);
  if (mount(from, to, nullptr, MS_BIND, nullptr) != 0 && required) fail(plan, "bind device");
}

// The copy holds every descriptor of its maker, among them the pipes of other boxes, which would never end.
void close_all_but(const BoxPlan& plan) {
  int keep[] = {plan.go_fd, plan.report_fd, plan.stdin_fd, plan.stdout_fd, plan.stderr_fd, plan.fetch_fd};
  constexpr int n = sizeof keep / sizeof *keep;
  for (int i = 1; i < n; ++i)
    for (int j = i; j > 0 && keep[j] < keep[j - 1]; --j) {
      const int t = keep[j];
      keep[j] = keep[j - 1];
      keep[j - 1] = t;
    }
  int from = 0;
  for (const int fd : keep) {
    if (fd < 0) continue;
    if (fd > from) (void)syscall(SYS_close_range, from, fd - 1, 0);
    from = fd + 1;
  }
  (void)syscall(SYS_close_range, from, ~0u, 0);
}

void make_root(const BoxPlan& plan) {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) fail(plan, "private mounts");
  if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755") != 0) fail(plan, "root tmpfs");
  if (chdir("/tmp") != 0) fail(plan, "chdir root");
  for (const char* dir : {"w", "dev", "proc", "etc"})
    if (mkdir(dir, 0755) != 0) fail(plan, "mkdir");
  toolchain_dir(plan, "/usr", "usr");
  toolchain_dir(plan, "/bin", "bin");
  toolchain_dir(plan, "/lib", "lib");
  toolchain_dir(plan, "/lib32", "lib32");
  toolchain_dir(plan, "/lib64", "lib64");
  toolchain_dir(plan, "/libx32", "libx32");
  if (access("/etc/alternatives", F_OK) == 0) toolchain_dir(plan, "/etc/alternatives", "etc/alternatives");
  if (access("/etc/ld.so.cache", R_OK) == 0) {
    bind_file(plan, "/etc/ld.so.cache", "etc/ld.so.cache", false);
    (void)mount(nullptr, "etc/ld.so.cache", nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr);
  }
  bind_file(plan, "/dev/null", "dev/null", true);
  bind_file(plan, "/dev/zero", "dev/zero", true);
  bind_file(plan, "/dev/full", "dev/full", false);
  bind_file(plan, "/dev/random", "dev/random", false);
  bind_file(plan, "/dev/urandom", "dev/urandom", true);
  if (symlink("/proc/self/fd", "dev/fd") || symlink("/proc/self/fd/0", "dev/stdin") ||
      symlink("/proc/self/fd/1", "dev/stdout") || symlink("/proc/self/fd/2", "dev/stderr") ||
      symlink("/w/shm", "dev/shm") || symlink("/w/tmp", "tmp"))
    fail(plan, "symlink");
  // Only processes: no /proc/sys, /proc/kcore and the like. Kernels before 5.8 do not know the option.
  constexpr unsigned long kProc = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount("proc", "proc", "proc", kProc, "subset=pid") != 0 && mount("proc", "proc", "proc", kProc, nullptr) != 0)
    fail(plan, "proc");
  // One tmpfs holds every file the program can make, so its size is the limit of them all together.
  if (mount("tmpfs", "w", "tmpfs", MS_NOSUID | MS_NODEV, plan.tmpfs_options) != 0) fail(plan, "work tmpfs");
  for (const char* dir : {"w/box", "w/tmp", "w/shm"})
    if (mkdir(dir, 0755) != 0) fail(plan, "mkdir");
  if (syscall(SYS_pivot_root, ".", ".") != 0) fail(plan, "pivot_root");
  if (umount2(".", MNT_DETACH) != 0) fail(plan, "detach host root");
  if (mount(nullptr, "/", nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) != 0)
    fail(plan, "read-only root");
  if (chdir("/w/box") != 0) fail(plan, "chdir");
}

void write_files(const BoxPlan& plan) {
  for (int i = 0; i < plan.file_count; ++i) {
    const BoxPlan::File& f = plan.files[i];
    const int fd = open(f.path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, f.executable ? 0755 : 0644);
    if (fd < 0 || !write_all(fd, f.data, f.size)) fail(plan, "write files");
    close(fd);
  }
}

void limit(const BoxPlan& plan, int what, std::int64_t soft, std::int64_t hard) {
  const rlimit value{static_cast<rlim_t>(soft), static_cast<rlim_t>(hard)};
  if (setrlimit(static_cast<__rlimit_resource>(what), &value) != 0) fail(plan, "setrlimit");
}

[[noreturn]] void become_program(const BoxPlan& plan) {
  setsid();
  if (dup2(plan.stdin_fd, 0) < 0 || dup2(plan.stdout_fd, 1) < 0 || dup2(plan.stderr_fd, 2) < 0) fail(plan, "dup2");
  limit(plan, RLIMIT_CORE, 0, 0);
  limit(plan, RLIMIT_CPU, plan.cpu_s, plan.cpu_s + 1);
  limit(plan, RLIMIT_FSIZE, plan.file_bytes, plan.file_bytes);
  limit(plan, RLIMIT_NOFILE, 256, 256);
  limit(plan, RLIMIT_MEMLOCK, 65536, 65536);
  limit(plan, RLIMIT_MSGQUEUE, 0, 0);
  limit(plan, RLIMIT_STACK, 64 << 20, 256 << 20);
  limit(plan, RLIMIT_NPROC, plan.processes + 1, plan.processes + 1);  // the box's process 1 counts too
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail(plan, "no_new_privs");
  if (const int error = landlock_wall(plan.landlock_abi)) {
    errno = error;
    fail(plan, "landlock");
  }
  for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; ++cap) (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
  (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) fail(plan, "capset");
  // The report descriptor must survive until execve, to say that it failed; the kernel closes it on success.
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &plan.filter, 0, 0) != 0) fail(plan, "seccomp");
  execve(plan.argv[0], plan.argv, plan.envp);
  fail(plan, "execve");
}

void fetch_file(const BoxPlan& plan) {
  const int fd = open(plan.fetch, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return;
  char buffer[65536];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
    if (!write_all(plan.fetch_fd, buffer, static_cast<std::uint64_t>(n))) return;
}

}  // namespace

void box_main(const BoxPlan& plan) {
  // Dies with the thread that made it; that thread waits for it, so it lives as long.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char go = 0;
  if (read(plan.go_fd, &go, 1) != 1 || go != 1) _exit(1);
  close_all_but(plan);
  for (int s = 1; s < 65; ++s)
    if (s != SIGKILL && s != SIGSTOP) signal(s, SIG_DFL);  // the program starts with no signal of ours ignored
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  umask(022);
  // From an unmapped id to the box's id without losing the capabilities that making the root needs.
  (void)prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
  if (plan.set_groups && syscall(SYS_setgroups, 0, nullptr) != 0) fail(plan, "setgroups");
  if (syscall(SYS_setresgid, kBoxUid, kBoxUid, kBoxUid) != 0) fail(plan, "setgid");
  if (syscall(SYS_setresuid, kBoxUid, kBoxUid, kBoxUid) != 0) fail(plan, "setuid");
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a change of ids clears it
  (void)syscall(SYS_sethostname, "box", 3);
  make_root(plan);
  write_files(plan);
  const pid_t program = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (program < 0) fail(plan, "fork");
  if (program == 0) become_program(plan);
  BoxReport report;
  report.kind = BoxReport::kStarted;
  (void)!write(plan.report_fd, &report, sizeof report);
  close(plan.stdin_fd);
  close(plan.stdout_fd);
  close(plan.stderr_fd);
  int status = 0;
  for (;;) {  // orphans come here too: they are reaped, never waited for
    const pid_t pid = waitpid(-1, &status, 0);
    if (pid == program) break;
    if (pid < 0 && errno != EINTR) fail(plan, "wait");
  }
  // Nothing outlives the verdict: first the tree dies, then the result is told.
  kill(-1, SIGKILL);
  int rest = 0;
  while (waitpid(-1, &rest, 0) > 0 || errno == EINTR) errno = 0;
  if (plan.fetch && WIFEXITED(status) && WEXITSTATUS(status) == 0) fetch_file(plan);
  report.kind = BoxReport::kEnded;
  report.status = status;
  (void)!write(plan.report_fd, &report, sizeof report);
  _exit(0);
}

}  // namespace r1::code
