#include "rewards/code/order_line.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "rewards/code/warm_protocol.h"

namespace r1::code {

bool send_order(int line, std::uint8_t flags, const BoxFds& fds) {
  int list[kBoxFds] = {fds.order, fds.report, fds.in, fds.out, fds.err};
  std::size_t count = kBoxFds - 2;
  if (flags & kWithFetch) list[count++] = fds.fetch;
  if (flags & kWithAsset) list[count++] = fds.asset;
  iovec data{&flags, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(kBoxFds * sizeof(int))] = {};
  msghdr m{};
  m.msg_iov = &data;
  m.msg_iovlen = 1;
  m.msg_control = space;
  m.msg_controllen = CMSG_SPACE(count * sizeof(int));
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(count * sizeof(int));
  std::memcpy(CMSG_DATA(c), list, count * sizeof(int));
  return sendmsg(line, &m, MSG_NOSIGNAL) == 1;
}

bool receive_order(int line, std::uint8_t& flags, BoxFds& fds) {
  iovec data{&flags, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(kBoxFds * sizeof(int))];
  msghdr m{};
  m.msg_iov = &data;
  m.msg_iovlen = 1;
  m.msg_control = space;
  m.msg_controllen = sizeof space;
  ssize_t n;
  while ((n = recvmsg(line, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  const cmsghdr* c = n == 1 ? CMSG_FIRSTHDR(&m) : nullptr;
  if (!c || c->cmsg_type != SCM_RIGHTS || (m.msg_flags & MSG_CTRUNC)) return false;
  const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  if (count > kBoxFds) return false;
  int got[kBoxFds];
  std::memcpy(got, CMSG_DATA(c), count * sizeof(int));
  std::size_t used = kBoxFds - 2;
  fds = {got[0], got[1], got[2], got[3], got[4], -1, -1};
  if (flags & kWithFetch) fds.fetch = got[used++];
  if (flags & kWithAsset) fds.asset = got[used++];
  return count == used;
}

}  // namespace r1::code
