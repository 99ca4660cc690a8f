// Landlock: a second wall behind the mounts. Own declarations, since distribution headers lag behind kernels.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "rewards/code/box_child.h"

namespace r1::code {
namespace {

struct Ruleset {
  std::uint64_t fs = 0, net = 0, scoped = 0;
};
struct __attribute__((packed)) PathRule {
  std::uint64_t access = 0;
  std::int32_t fd = -1;
};
constexpr std::uint64_t kExecute = 1, kWriteFile = 2, kReadFile = 4, kReadDir = 8;

int allow(int ruleset, const char* path, std::uint64_t access) {
  PathRule rule;
  rule.access = access;
  rule.fd = open(path, O_PATH | O_CLOEXEC);
  if (rule.fd < 0) return errno;
  const long rc = syscall(SYS_landlock_add_rule, ruleset, 1, &rule, 0);
  const int error = rc == 0 ? 0 : errno;
  close(rule.fd);
  return error;
}

}  // namespace

int landlock_wall(int abi) {
  if (abi < 1) return 0;
  Ruleset rules;
  rules.fs = (1u << 13) - 1;               // ABI 1
  if (abi >= 2) rules.fs |= 1u << 13;      // refer
  if (abi >= 3) rules.fs |= 1u << 14;      // truncate
  if (abi >= 4) rules.net = 3;             // TCP bind and connect: no rule, so never
  if (abi >= 6) rules.scoped = 3;          // abstract sockets and signals end at the domain
  const std::size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
  const int fd = static_cast<int>(syscall(SYS_landlock_create_ruleset, &rules, size, 0));
  if (fd < 0) return errno;
  int error = allow(fd, "/", kExecute | kReadFile | kReadDir);
  if (!error) error = allow(fd, "/dev", kReadFile | kReadDir | kWriteFile | (abi >= 3 ? 1u << 14 : 0));
  if (!error) error = allow(fd, "/w", rules.fs);
  if (!error && syscall(SYS_landlock_restrict_self, fd, 0) != 0) error = errno;
  close(fd);
  return error;
}

}  // namespace r1::code
