// A TCP connection that carries frames: a length, a type, bytes. What the rendezvous speaks.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace r1 {

using CommClock = std::chrono::steady_clock;

struct Frame {
  std::uint8_t type = 0;
  std::string payload;
};

// Owns a descriptor. Sending is safe beside receiving, two senders are not.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : fd_(descriptor) {}
  Socket(Socket&& o) noexcept : fd_(std::exchange(o.fd_, -1)), input_(std::move(o.input_)) {}
  Socket& operator=(Socket&& o) noexcept { std::swap(fd_, o.fd_); std::swap(input_, o.input_); return *this; }
  ~Socket();

  // Listens on all addresses; none if the port is taken. Port 0 = any free one. Throws CommError for other trouble.
  static std::optional<Socket> listen(int port);
  Socket accept() const;
  // None if nobody answers there now. Throws CommError for a host that has no address.
  static std::optional<Socket> connect(const std::string& host, int port, double timeout_s);

  int descriptor() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  int port() const;                     // the local end's
  std::string local_address() const;    // the local end's, numeric
  void shut_down();                     // both directions; wakes a receiver

  // False: the peer is gone, or took nothing for `timeout_s`.
  bool send(std::uint8_t type, std::string_view payload, double timeout_s);
  // Takes what has arrived. False: the peer is gone.
  bool fill();
  // The next whole frame of what has arrived. A length that cannot be ends the connection.
  std::optional<Frame> next();
  // Waits for input: fill() has something to take or the peer is gone.
  bool wait_readable(double timeout_s) const;

 private:
  int fd_ = -1;
  std::string input_;
};

}  // namespace r1
