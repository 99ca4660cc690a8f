#include "comm/socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "comm/communicator.h"
#include "core/error.h"

namespace r1 {
namespace {

constexpr std::size_t kHead = 5, kLargest = std::size_t{1} << 30;  // of a frame

bool wait_for(int fd, short events, double timeout_s) {
  const auto deadline = CommClock::now() + std::chrono::duration<double>(timeout_s);
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - CommClock::now()).count();
    pollfd p{fd, events, 0};
    const int n = ::poll(&p, 1, static_cast<int>(std::clamp<long>(left, 0, 1 << 30)));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

void prepare(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

}  // namespace

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

std::optional<Socket> Socket::listen(int port) {
  // One socket for both families where the system has IPv6, else IPv4 alone.
  for (const int family : {AF_INET6, AF_INET}) {
    Socket s(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!s.open()) continue;
    const int on = 1, off = 0;
    ::setsockopt(s.fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_storage address{};
    socklen_t length = 0;
    if (family == AF_INET6) {
      ::setsockopt(s.fd_, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
      auto& a = reinterpret_cast<sockaddr_in6&>(address);
      a.sin6_family = AF_INET6, a.sin6_port = htons(static_cast<std::uint16_t>(port)), a.sin6_addr = in6addr_any, length = sizeof a;
    } else {
      auto& a = reinterpret_cast<sockaddr_in&>(address);
      a.sin_family = AF_INET, a.sin_port = htons(static_cast<std::uint16_t>(port)), length = sizeof a;
    }
    if (::bind(s.fd_, reinterpret_cast<sockaddr*>(&address), length) == 0 && ::listen(s.fd_, 1024) == 0) return s;
    if (errno == EADDRINUSE || errno == EACCES) return std::nullopt;
  }
  throw CommError(message("no socket can listen on port ", port, ": ", std::strerror(errno)));
}

Socket Socket::accept() const {
  Socket s(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
  if (s.open()) prepare(s.fd_);
  return s;
}

std::optional<Socket> Socket::connect(const std::string& host, int port, double timeout_s) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error == EAI_AGAIN) return std::nullopt;
  if (error != 0) throw CommError(message("MASTER_ADDR ", host, " has no address: ", gai_strerror(error)));
  std::optional<Socket> out;
  for (const addrinfo* a = found; a && !out; a = a->ai_next) {
    Socket s(::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol));
    if (!s.open()) continue;
    int failed = ::connect(s.fd_, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (failed == EINPROGRESS && wait_for(s.fd_, POLLOUT, timeout_s)) {
      socklen_t size = sizeof failed;
      ::getsockopt(s.fd_, SOL_SOCKET, SO_ERROR, &failed, &size);
    }
    if (failed != 0) continue;
    prepare(s.fd_);
    out = std::move(s);
  }
  ::freeaddrinfo(found);
  return out;
}

int Socket::port() const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

std::string Socket::local_address() const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
  char text[NI_MAXHOST] = "";
  ::getnameinfo(reinterpret_cast<sockaddr*>(&address), length, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  const std::string out = text;
  return out.starts_with("::ffff:") ? out.substr(7) : out;
}

void Socket::shut_down() {
  if (fd_ >= 0) ::shutdown(fd_, SHUT_RDWR);
}

bool Socket::send(std::uint8_t type, std::string_view payload, double timeout_s) {
  std::string bytes(kHead, '\0');
  const auto size = static_cast<std::uint32_t>(payload.size());
  std::memcpy(bytes.data(), &size, sizeof size);
  bytes[4] = static_cast<char>(type);
  bytes += payload;
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::send(fd_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) at += static_cast<std::size_t>(n);
    else if (errno == EAGAIN || errno == EINTR) {
      if (!wait_for(fd_, POLLOUT, timeout_s)) return false;
    } else return false;
  }
  return true;
}

bool Socket::wait_readable(double timeout_s) const { return wait_for(fd_, POLLIN, timeout_s); }

bool Socket::fill() {
  char block[1 << 16];
  while (true) {
    const ssize_t n = ::recv(fd_, block, sizeof block, MSG_DONTWAIT);
    if (n > 0) input_.append(block, static_cast<std::size_t>(n));
    else if (n == 0) return false;
    else if (errno == EAGAIN) return true;
    else if (errno != EINTR) return false;
  }
}

std::optional<Frame> Socket::next() {
  if (input_.size() < kHead) return std::nullopt;
  std::uint32_t size = 0;
  std::memcpy(&size, input_.data(), sizeof size);
  if (size > kLargest) {
    shut_down();
    input_.clear();
    return std::nullopt;
  }
  if (input_.size() < kHead + size) return std::nullopt;
  Frame out{static_cast<std::uint8_t>(input_[4]), input_.substr(kHead, size)};
  input_.erase(0, kHead + size);
  return out;
}

}  // namespace r1
