#include "rewards/code/box_child.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <initializer_list>

namespace r1::code {
namespace {

constexpr int kMostArguments = 256;

struct Box {
  const BoxOrder& order;
  BoxFds fds;
};

// Tells what failed, with errno, and ends this process.
struct Fail {
  int fd;
  int (*report)();  // gives the descriptor where there is none yet
  [[noreturn]] void operator()(const char* step) const {
    BoxReport said;
    said.status = errno;
    std::strncpy(said.step, step, sizeof said.step - 1);
    (void)!write(fd >= 0 ? fd : report(), &said, sizeof said);
    _exit(1);
  }
};
[[noreturn]] void fail(int report_fd, const char* step) { Fail{report_fd, nullptr}(step); }
[[noreturn]] void fail(const Box& box, const char* step) { fail(box.fds.report, step); }

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

struct MountAttributes {
  std::uint64_t set, clear, propagation, userns;
};

// Read-only with everything below it: bind, then one call that reaches sub-mounts too (Linux 5.12); older kernels get
// a bind that is remounted, which covers the top mount alone.
bool bind_read_only(const char* from, const char* to) {
  if (mount(from, to, nullptr, MS_BIND | MS_REC, nullptr) != 0) return false;
  MountAttributes attributes{0x1 | 0x2 | 0x4, 0, 0, 0};  // ro nosuid nodev
  if (syscall(SYS_mount_setattr, AT_FDCWD, to, 0x8000 /* AT_RECURSIVE */, &attributes, sizeof attributes) == 0) return true;
  return mount(nullptr, to, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) == 0;
}

// On merged-usr systems /bin and /lib are links into /usr; elsewhere they are folders to bind.
void toolchain_dir(const Fail& fail, const char* from, const char* to) {
  struct stat st;
  if (lstat(from, &st) != 0) return;
  if (S_ISLNK(st.st_mode)) {
    char target[256];
    const ssize_t n = readlink(from, target, sizeof target - 1);
    if (n <= 0) return;
    target[n] = 0;
    if (symlink(target, to) != 0) fail("symlink");
    return;
  }
  if (mkdir(to, 0755) != 0 || !bind_read_only(from, to)) fail("bind toolchain");
}

// Two levels at most ("/etc/java-17-openjdk"): that is where distributions put them.
void more_folder(const Fail& fail, const char* path) {
  if (access(path, F_OK) != 0) return;
  char parent[256];
  std::strncpy(parent, path + 1, sizeof parent - 1);
  parent[sizeof parent - 1] = 0;
  if (char* slash = std::strchr(parent, '/')) {
    *slash = 0;
    if (mkdir(parent, 0755) != 0 && errno != EEXIST) fail("mkdir");
  }
  toolchain_dir(fail, path, path + 1);
}

void bind_file(const Fail& fail, const char* from, const char* to, bool required) {
  const int fd = open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) fail("create bind target");
  close(fd);
  if (mount(from, to, nullptr, MS_BIND, nullptr) != 0) {
    if (required) fail("bind device");
    return;
  }
  // Devices can be written to through a read-only mount, but their times and modes, which are the host's, cannot.
  MountAttributes read_only{0x1, 0, 0, 0};
  (void)syscall(SYS_mount_setattr, AT_FDCWD, to, 0, &read_only, sizeof read_only);
}

// The copy holds every descriptor of its maker, among them the pipes of other boxes, which would never end.
void close_all_but(BoxFds fds) {
  int keep[] = {fds.order, fds.report, fds.in, fds.out, fds.err, fds.fetch, fds.asset};
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

// All but the folder that the program works in. order: for its folders; null: none.
void make_root(const Fail& fail, const BoxOrder* order) {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) fail("private mounts");
  if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755") != 0) fail("root tmpfs");
  if (chdir("/tmp") != 0) fail("chdir root");
  for (const char* dir : {"w", "dev", "proc", "etc"})
    if (mkdir(dir, 0755) != 0) fail("mkdir");
  toolchain_dir(fail, "/usr", "usr");
  toolchain_dir(fail, "/bin", "bin");
  toolchain_dir(fail, "/lib", "lib");
  toolchain_dir(fail, "/lib32", "lib32");
  toolchain_dir(fail, "/lib64", "lib64");
  toolchain_dir(fail, "/libx32", "libx32");
  if (access("/etc/alternatives", F_OK) == 0) toolchain_dir(fail, "/etc/alternatives", "etc/alternatives");
  const char* folder = order == nullptr ? nullptr : order->text(order->folders);
  for (std::uint64_t i = 0; order != nullptr && i < order->folder_count; ++i, folder += std::strlen(folder) + 1) more_folder(fail, folder);
  if (access("/etc/ld.so.cache", R_OK) == 0) {
    bind_file(fail, "/etc/ld.so.cache", "etc/ld.so.cache", false);
    (void)mount(nullptr, "etc/ld.so.cache", nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr);
  }
  bind_file(fail, "/dev/null", "dev/null", true);
  bind_file(fail, "/dev/zero", "dev/zero", true);
  bind_file(fail, "/dev/full", "dev/full", false);
  bind_file(fail, "/dev/random", "dev/random", false);
  bind_file(fail, "/dev/urandom", "dev/urandom", true);
  if (symlink("/proc/self/fd", "dev/fd") || symlink("/proc/self/fd/0", "dev/stdin") ||
      symlink("/proc/self/fd/1", "dev/stdout") || symlink("/proc/self/fd/2", "dev/stderr") ||
      symlink("/w/shm", "dev/shm") || symlink("/w/tmp", "tmp"))
    fail("symlink");
  // Only processes: no /proc/sys, /proc/kcore and the like. Kernels before 5.8 do not know the option.
  constexpr unsigned long kProc = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount("proc", "proc", "proc", kProc, "subset=pid") != 0 && mount("proc", "proc", "proc", kProc, nullptr) != 0)
    fail("proc");
  if (syscall(SYS_pivot_root, ".", ".") != 0) fail("pivot_root");
  if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) fail("detach host root");
  if (mount(nullptr, "/", nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) != 0)
    fail("read-only root");
}

void add_work_folder(const Box& box) {
  // One tmpfs holds every file the program can make, so its size is the limit of them all together.
  if (mount("tmpfs", "/w", "tmpfs", MS_NOSUID | MS_NODEV, box.order.text(box.order.tmpfs_options)) != 0) fail(box, "work tmpfs");
  for (const char* dir : {"/w/box", "/w/tmp", "/w/shm"})
    if (mkdir(dir, 0755) != 0) fail(box, "mkdir");
  if (chdir("/w/box") != 0) fail(box, "chdir");
}

void write_files(const Box& box) {
  const auto* files = reinterpret_cast<const BoxOrder::File*>(box.order.text(box.order.files));
  for (std::uint64_t i = 0; i < box.order.file_count; ++i) {
    if (files[i].kind == kLinkFile) {
      if (symlink(box.order.text(files[i].data), box.order.text(files[i].name)) != 0) fail(box, "link files");
      continue;
    }
    const int fd = open(box.order.text(files[i].name), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, files[i].kind == kExecutableFile ? 0755 : 0644);
    if (fd < 0 || !write_all(fd, box.order.text(files[i].data), files[i].size)) fail(box, "write files");
    close(fd);
  }
}

void limit(const Box& box, int what, std::int64_t soft, std::int64_t hard) {
  const rlimit value{static_cast<rlim_t>(soft), static_cast<rlim_t>(hard)};
  if (setrlimit(static_cast<__rlimit_resource>(what), &value) != 0) fail(box, "setrlimit");
}

// Nothing of the maker's is left in the program's hands; the report descriptor stays until the very end, to say what
// failed, and never longer: execute() lets the kernel close it, a warm program closes it before the first line runs.
void become_program(Box& box) {
  const BoxOrder& o = box.order;
  setsid();
  if (dup2(box.fds.in, 0) < 0 || dup2(box.fds.out, 1) < 0 || dup2(box.fds.err, 2) < 0) fail(box, "dup2");
  if (box.fds.asset >= 0) {
    const int report = fcntl(box.fds.report, F_DUPFD_CLOEXEC, kAssetFd + 1);
    const int asset = fcntl(box.fds.asset, F_DUPFD_CLOEXEC, kAssetFd + 1);
    if (report < 0 || asset < 0 || dup2(asset, kAssetFd) < 0) fail(box, "dup2");
    box.fds.report = report;
    box.fds.asset = kAssetFd;
  }
  close_all_but({-1, box.fds.report, 0, 1, 2, -1, box.fds.asset});
  limit(box, RLIMIT_CORE, 0, 0);
  limit(box, RLIMIT_CPU, o.cpu_s, o.cpu_s + 1);
  limit(box, RLIMIT_FSIZE, o.file_bytes, o.file_bytes);
  limit(box, RLIMIT_NOFILE, 256, 256);
  limit(box, RLIMIT_MEMLOCK, 65536, 65536);
  limit(box, RLIMIT_MSGQUEUE, 0, 0);
  limit(box, RLIMIT_STACK, 64 << 20, 256 << 20);
  limit(box, RLIMIT_NPROC, o.processes + 1, o.processes + 1);  // the box's process 1 counts too
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail(box, "no_new_privs");
  if (const int error = landlock_wall(o.landlock_abi)) {
    errno = error;
    fail(box, "landlock");
  }
  for (int cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; ++cap) {
  }
  (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) fail(box, "capset");
  // What execve would do: the change of ids made the process undumpable, which closes its own /proc entries to it.
  if (o.warm && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) fail(box, "dumpable");
  const sock_fprog filter{static_cast<unsigned short>(o.filter_count),
                          reinterpret_cast<sock_filter*>(const_cast<char*>(o.text(o.filter)))};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0) fail(box, "seccomp");
}

void fetch_file(const Box& box) {
  const int fd = open(box.order.text(box.order.fetch), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return;
  char buffer[65536];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
    if (!write_all(box.fds.fetch, buffer, static_cast<std::uint64_t>(n))) return;
}

void default_signals() {
  for (int s = 1; s < 65; ++s)
    if (s != SIGKILL && s != SIGSTOP) signal(s, SIG_DFL);
}

const BoxOrder& map_order(const BoxFds& fds) {
  struct stat st;
  if (fstat(fds.order, &st) != 0) fail(fds.report, "order");
  void* at = mmap(nullptr, static_cast<std::size_t>(st.st_size), PROT_READ, MAP_PRIVATE, fds.order, 0);
  if (at == MAP_FAILED) fail(fds.report, "order");
  return *static_cast<const BoxOrder*>(at);
}

// Waits for the program as process 1 of its pid namespace, ends its whole tree and tells the result.
[[noreturn]] void be_process_one(const Box& box, pid_t program) {
  default_signals();
  BoxReport report;
  report.kind = BoxReport::kStarted;
  (void)!write(box.fds.report, &report, sizeof report);
  close(box.fds.in);
  close(box.fds.out);
  close(box.fds.err);
  int status = 0;
  for (;;) {  // orphans come here too: they are reaped, never waited for
    const pid_t pid = waitpid(-1, &status, 0);
    if (pid == program) break;
    if (pid < 0 && errno != EINTR) fail(box, "wait");
  }
  // Nothing outlives the verdict: first the tree dies, then the result is told.
  kill(-1, SIGKILL);
  int rest = 0;
  while (waitpid(-1, &rest, 0) > 0 || errno == EINTR) errno = 0;
  if (box.order.fetch && WIFEXITED(status) && WEXITSTATUS(status) == 0) fetch_file(box);
  rusage use{};
  getrusage(RUSAGE_CHILDREN, &use);
  report.kind = BoxReport::kEnded;
  report.status = status;
  report.cpu_us = (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1'000'000 + use.ru_utime.tv_usec + use.ru_stime.tv_usec;
  report.largest_kb = use.ru_maxrss;
  (void)!write(box.fds.report, &report, sizeof report);
  _exit(0);
}

}  // namespace

bool map_ids(pid_t pid) {
  constexpr unsigned kNobody = 65534;
  const bool root = geteuid() == 0;
  const auto write_text = [pid](const char* file, const char* format, unsigned id) {
    char path[64], text[64];
    std::snprintf(path, sizeof path, "/proc/%d/%s", static_cast<int>(pid), file);
    const int size = std::snprintf(text, sizeof text, format, id);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    const bool ok = fd >= 0 && write(fd, text, static_cast<std::size_t>(size)) == size;
    const int error = errno;
    if (fd >= 0) close(fd);
    errno = error;
    return ok;
  };
  static_assert(kBoxUid == 1000, "as in the texts");  // inside there is no id 0
  return (root || write_text("setgroups", "deny", 0)) && write_text("uid_map", "1000 %u 1", root ? kNobody : geteuid()) &&
         write_text("gid_map", "1000 %u 1", root ? kNobody : getegid());
}

Prepared prepare_box(int go, bool maker_is_root, pid_t (*fork_ahead)(), int (*report)()) {
  // Dies with the thread that made it; that thread waits for it, so it lives as long.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char byte = 0;
  if (read(go, &byte, 1) != 1 || byte != 1) _exit(1);
  const Fail fail{-1, report};
  signal(SIGCHLD, SIG_DFL);  // before there is a program: one that ends at once would be reaped by the kernel, its status lost
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  umask(022);
  // From an unmapped id to the box's id without losing the capabilities that making the root needs.
  (void)prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
  // The maker is root: supplementary groups can and must go.
  if (maker_is_root && syscall(SYS_setgroups, 0, nullptr) != 0) fail("setgroups");
  if (syscall(SYS_setresgid, kBoxUid, kBoxUid, kBoxUid) != 0) fail("setgid");
  if (syscall(SYS_setresuid, kBoxUid, kBoxUid, kBoxUid) != 0) fail("setuid");
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a change of ids clears it
  (void)syscall(SYS_sethostname, "box", 3);
  if (fork_ahead == nullptr) return {};
  make_root(fail, nullptr);
  int line[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) != 0) fail("socketpair");
  const pid_t program = fork_ahead();
  if (program < 0) fail("fork");
  close(line[program == 0 ? 0 : 1]);
  return {true, program, line[program == 0 ? 1 : 0]};
}

const BoxOrder& enter_box(const Prepared& prepared, BoxFds& fds, pid_t (*fork_program)()) {
  close_all_but(fds);
  Box box{map_order(fds), fds};
  if (!box.order.warm) default_signals();  // the program starts with no signal of ours ignored
  if (prepared.program > 0) be_process_one(box, prepared.program);
  if (!prepared.whole) make_root({fds.report, nullptr}, &box.order);
  add_work_folder(box);
  write_files(box);
  if (!prepared.whole) {
    const pid_t program = fork_program();
    if (program < 0) fail(box, "fork");
    if (program > 0) be_process_one(box, program);
  }
  become_program(box);
  fds = box.fds;
  return box.order;
}

void execute(const BoxOrder& order, const BoxFds& fds) {
  char* argv[kMostArguments + 1];
  char* envp[kMostArguments + 1];
  const auto texts = [&](std::uint64_t at, std::uint64_t count, char** into) {
    for (std::uint64_t i = 0; i < count && i < kMostArguments; ++i, at += std::strlen(order.text(at)) + 1)
      *into++ = const_cast<char*>(order.text(at));
    *into = nullptr;
  };
  texts(order.argv, order.argc, argv);
  texts(order.envp, order.envc, envp);
  execve(argv[0], argv, envp);
  fail(fds.report, "execve");
}

}  // namespace r1::code
