// For LD_PRELOAD: the Nth call that changes a file or folder below R1_FAULT_UNDER fails once (a write after half of its bytes), as on a disk
// that is full or broken. R1_FAULT_AT = N (0: none); R1_FAULT_LOG gets the number of calls at the end, and what failed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_long calls;
static pid_t owner;

static void note(const char* what, const char* path, long n) {
  const char* log = getenv("R1_FAULT_LOG");
  if (!log) return;
  const int fd = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  char text[PATH_MAX + 64];
  const int size = snprintf(text, sizeof text, "%s %ld %s\n", what, n, path);
  if (fd >= 0 && REAL(write)(fd, text, (size_t)size) < 0) _exit(99);
  if (fd >= 0) close(fd);
}
__attribute__((constructor)) static void begin(void) { owner = getpid(); }
__attribute__((destructor)) static void end(void) {
  if (getpid() == owner) note("calls", "", atomic_load(&calls));
}

// 1 where this call is the one that fails.
static int hit(const char* what, const char* path) {
  const char *under = getenv("R1_FAULT_UNDER"), *at = getenv("R1_FAULT_AT");
  if (!under || !at || getpid() != owner || strncmp(path, under, strlen(under)) != 0) return 0;
  const long n = atomic_fetch_add(&calls, 1) + 1;
  if (n != atol(at)) return 0;
  note(what, path, n);
  return 1;
}
static int hit_fd(const char* what, int fd) {
  char link[64], path[PATH_MAX];
  struct stat info;
  if (fstat(fd, &info) != 0 || (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return hit(what, path);
}
static int hit_at(const char* what, const char* path) {  // a name may be relative
  char folder[PATH_MAX], whole[2 * PATH_MAX];
  if (path[0] == '/' || !getcwd(folder, sizeof folder)) return hit(what, path);
  snprintf(whole, sizeof whole, "%s/%s", folder, path);
  return hit(what, whole);
}

#define FAIL(code) return errno = (code), -1
ssize_t write(int fd, const void* data, size_t size) {
  if (!hit_fd("write", fd)) return REAL(write)(fd, data, size);
  if (size > 1) (void)!REAL(write)(fd, data, size / 2);
  FAIL(ENOSPC);
}
ssize_t writev(int fd, const struct iovec* parts, int count) {
  if (!hit_fd("write", fd)) return REAL(writev)(fd, parts, count);
  FAIL(ENOSPC);
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  if (!hit_fd("write", fd)) return REAL(pwrite)(fd, data, size, at);
  FAIL(ENOSPC);
}
int fsync(int fd) {
  if (!hit_fd("sync", fd)) return REAL(fsync)(fd);
  FAIL(EIO);
}
int fdatasync(int fd) {
  if (!hit_fd("sync", fd)) return REAL(fdatasync)(fd);
  FAIL(EIO);
}
int ftruncate(int fd, off_t size) {
  if (!hit_fd("shorten", fd)) return REAL(ftruncate)(fd, size);
  FAIL(EIO);
}
int rename(const char* from, const char* to) {
  if (!hit_at("rename", to)) return REAL(rename)(from, to);
  FAIL(EIO);
}
int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
  if (!hit_at("exchange", to)) return REAL(renameat2)(from_dir, from, to_dir, to, flags);
  FAIL(EIO);
}
int symlink(const char* to, const char* path) {
  if (!hit_at("link", path)) return REAL(symlink)(to, path);
  FAIL(ENOSPC);
}
int mkdir(const char* path, mode_t mode) {
  if (!hit_at("folder", path)) return REAL(mkdir)(path, mode);
  FAIL(ENOSPC);
}
int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (!(flags & O_CREAT) || !hit_at("create", path)) return REAL(open)(path, flags, mode);
  FAIL(ENOSPC);
}
