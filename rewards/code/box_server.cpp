#include "rewards/code/box_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "rewards/code/order_line.h"
#include "rewards/code/warm_protocol.h"

namespace r1::code {
namespace {

void close_order(const BoxFds& fds) {
  for (const int fd : {fds.order, fds.report, fds.in, fds.out, fds.err, fds.fetch, fds.asset})
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

namespace {

// Of a spare box: the line to the maker, the pipe on which it says that it has taken an order, and the one on which it hears that the
// maker knows of it.
int control_line = -1, taken_line = -1, go_line = -1;

BoxFds take_order(std::uint8_t& flags) {
  BoxFds fds;
  // In this order: told before, the next spare could take what is still on the line. One that dies in between ends what it came out of
  // and so its maker's wait.
  if (!receive_order(control_line, flags, fds) || write(taken_line, "", 1) != 1) _exit(0);
  // Nothing runs before the maker has its answer: where the interpreter dies now, the maker gives the order to another, and a program
  // that ran all the same would have run twice.
  char go = 0;
  if (read(go_line, &go, 1) != 1) _exit(0);
  return fds;
}
int report_of_next_order() {
  std::uint8_t flags = 0;
  return take_order(flags).report;
}

// Process 1 takes the order and passes it on to the program's process, where there is one.
BoxFds order_for(const Prepared& prepared) {
  std::uint8_t flags = 0;
  BoxFds fds;
  if (prepared.whole && prepared.program == 0) {
    if (!receive_order(prepared.line, flags, fds)) _exit(0);
    return fds;
  }
  fds = take_order(flags);
  if (prepared.program > 0 && !send_order(prepared.line, flags, fds)) _exit(0);
  return fds;
}

// Until somebody takes an order (true), or the maker has closed the line or died, or the spare is dead (false).
bool order_comes(int taken, int maker) {
  pollfd wait[] = {{taken, POLLIN, 0}, {maker, POLLIN, 0}};
  while (poll(wait, 2, -1) < 0 && errno == EINTR) {
  }
  char byte;
  return wait[1].revents == 0 && read(taken, &byte, 1) == 1;
}

}  // namespace

int serve_boxes(int control, int maker, bool whole, pid_t (*fork_program)()) {
  signal(SIGCHLD, SIG_IGN);  // the kernel reaps; each box's end is told by its own pipe
  const bool is_root = geteuid() == 0;
  std::uint8_t settings = 0;
  if (!reply(control, 0, 0) || read(control, &settings, 1) != 1) _exit(1);
  const bool own_net = (settings & kShareNet) && unshare(CLONE_NEWNET) == 0;
  const unsigned long kinds = own_net ? kBoxClone & ~static_cast<unsigned long>(CLONE_NEWNET) : kBoxClone;
  for (;;) {
    // The next box's namespaces, ids and root are made while nobody waits for them.
    int go[2], taken[2], pidfd = -1;
    if (pipe2(go, O_CLOEXEC) != 0 || pipe2(taken, O_CLOEXEC) != 0) _exit(1);
    const pid_t pid = static_cast<pid_t>(syscall(SYS_clone, kinds, nullptr, &pidfd, nullptr, nullptr));
    if (pid == 0) {
      close(go[1]), close(taken[0]);
      control_line = control, taken_line = taken[1], go_line = go[0];
      const Prepared prepared = prepare_box(go[0], is_root, whole ? fork_program : nullptr, report_of_next_order);
      BoxFds fds = order_for(prepared);
      const BoxOrder& order = enter_box(prepared, fds, fork_program);
      if (!order.warm) execute(order, fds);
      return fds.report;
    }
    const int error = errno;
    close(go[0]), close(taken[1]);
    if (pid < 0) {  // the order that this one would have taken is answered with the reason
      pollfd wait[] = {{control, POLLIN, 0}, {maker, POLLIN, 0}};
      while (poll(wait, 2, -1) < 0 && errno == EINTR) {
      }
      BoxFds fds;
      std::uint8_t flags = 0;
      if (wait[1].revents || !receive_order(control, flags, fds)) _exit(0);
      close_order(fds);
      if (!reply(control, -1, error)) _exit(1);
    } else {
      const bool mapped = map_ids(pid);
      const int map_error = errno;
      if (mapped) (void)!write(go[1], "\1", 1);
      if (!mapped) {
        std::fprintf(stderr, "id map: %s\n", std::strerror(map_error));
        _exit(1);
      }
      // What ends here ends its spare too, and the maker starts another.
      if (!order_comes(taken[0], maker) || !reply(control, pid, 0, pidfd)) _exit(0);
      (void)!write(go[1], "\1", 1);
      close(pidfd);
    }
    close(go[1]), close(taken[0]);
  }
}

}  // namespace r1::code
