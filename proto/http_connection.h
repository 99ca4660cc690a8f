// Connections of our HTTP server: a deadline for reading each request, a bound on its head, a thread each up to a limit,
// and the answer to "is the client still there?", which the library keeps to itself. For .cpp files that use the library.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <httplib.h>

namespace r1 {

class HttpConnection : public httplib::Stream {
 public:
  HttpConnection(int socket, std::chrono::milliseconds read_limit, std::chrono::milliseconds write_limit)
      : socket_(socket), read_limit_(read_limit), write_limit_(write_limit) {}

  // The connection whose request this thread serves.
  static HttpConnection& current();
  bool alive() const;  // the client has not closed its side
  void head_done() { in_head_ = false; }             // what follows is the body, which has its own limit
  void close_after_reply() { closing_ = true; }      // its body was not read
  bool closing() const { return closing_; }
  bool wait_for_request(std::chrono::milliseconds wait, const std::atomic<bool>& stopping);  // false: close
  void begin_request();
  void close_gently();  // so that a client that is still sending gets the reply first

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* out, std::size_t size) override;
  ssize_t write(const char* data, std::size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  int left_ms() const;

  int socket_;
  std::chrono::milliseconds read_limit_, write_limit_;
  std::chrono::steady_clock::time_point deadline_{};
  bool in_head_ = true, closing_ = false;
  std::size_t head_bytes_ = 0;
  char buffer_[4096];
  std::size_t begin_ = 0, end_ = 0;
};

// As httplib::Server, with connections of the kind above.
class BoundedHttpServer : public httplib::Server {
 public:
  struct Limits {
    int connections = 320;
    std::chrono::milliseconds read{30'000}, write{30'000}, idle{15'000};
  };
  explicit BoundedHttpServer(Limits limits);
  void widen_backlog();  // after binding: the library's 5 waiting connections are too few for a burst
  void stop_connections() { stopping_ = true; }  // each after the request that it serves

 private:
  class Threads;
  bool process_and_close_socket(socket_t socket) override;

  Limits limits_;
  std::atomic<bool> stopping_{false};
};

}  // namespace r1
