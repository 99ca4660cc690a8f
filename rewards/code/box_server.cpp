#include "rewards/code/box_server.h"

#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <initializer_list>

#include "rewards/code/warm_protocol.h"

namespace r1::code {
namespace {

bool receive_order(int control, std::uint8_t& flags, BoxFds& fds) {
  iovec data{&flags, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(kBoxFds * sizeof(int))];
  msghdr m{};
  m.msg_iov = &data;
  m.msg_iovlen = 1;
  m.msg_control = space;
  m.msg_controllen = sizeof space;
  ssize_t n;
  while ((n = recvmsg(control, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  const cmsghdr* c = n == 1 ? CMSG_FIRSTHDR(&m) : nullptr;
  if (!c || c->cmsg_type != SCM_RIGHTS || (m.msg_flags & MSG_CTRUNC)) return false;
  const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  if (count > kBoxFds) return false;
  int got[kBoxFds];
  std::memcpy(got, CMSG_DATA(c), count * sizeof(int));
  std::size_t used = kBoxFds - 2;
  fds = {got[0], got[1], got[2], got[3], got[4], got[5], -1, -1};
  if (flags & kWithFetch) fds.fetch = got[used++];
  if (flags & kWithAsset) fds.asset = got[used++];
  return count == used;
}

void close_order(const BoxFds& fds) {
  for (const int fd : {fds.order, fds.go, fds.report, fds.in, fds.out, fds.err, fds.fetch, fds.asset})
    if (fd >= 0) close(fd);
}

}  // namespace

bool reply(int control, pid_t pid, int error, int pidfd) {
  WarmReply answer{pid, error};
  iovec data{&answer, sizeof answer};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  msghdr m{};
  m.msg_iov = &data;
  m.msg_iovlen = 1;
  if (pid > 0) {
    m.msg_control = space;
    m.msg_controllen = sizeof space;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &pidfd, sizeof pidfd);
  }
  return sendmsg(control, &m, MSG_NOSIGNAL) == sizeof answer;
}

int serve_boxes(int control, int maker, pid_t (*fork_program)(const BoxOrder&)) {
  signal(SIGCHLD, SIG_IGN);  // the kernel reaps; each box's end is told by its own pipe
  if (!reply(control, 0, 0)) _exit(1);
  bool own_net = false;
  for (;;) {
    pollfd wait[] = {{control, POLLIN, 0}, {maker, POLLIN, 0}};
    if (poll(wait, 2, -1) < 0 && errno != EINTR) _exit(1);
    if (wait[1].revents) _exit(0);
    if (!wait[0].revents) continue;
    BoxFds fds;
    std::uint8_t flags = 0;
    int pidfd = -1;
    if (!receive_order(control, flags, fds)) _exit(0);
    own_net = own_net || ((flags & kShareNet) && unshare(CLONE_NEWNET) == 0);
    const unsigned long kinds =
        own_net && (flags & kShareNet) ? kBoxClone & ~static_cast<unsigned long>(CLONE_NEWNET) : kBoxClone;
    const pid_t pid = static_cast<pid_t>(syscall(SYS_clone, kinds, nullptr, &pidfd, nullptr, nullptr));
    if (pid == 0) {
      const BoxOrder& order = enter_box(fds, fork_program);
      if (!order.warm) execute(order, fds);
      return fds.report;
    }
    const int error = errno;
    close_order(fds);
    if (!reply(control, pid, pid < 0 ? error : 0, pidfd)) _exit(1);
    if (pidfd >= 0) close(pidfd);
  }
}

}  // namespace r1::code
