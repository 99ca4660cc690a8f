#include "proto/http_connection.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/error.h"

namespace r1 {
namespace {

constexpr std::size_t kMaxHead = 64 << 10;
constexpr std::string_view kTooMany =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    "{\"error\":{\"message\":\"too many connections\",\"type\":\"server_error\",\"param\":null,\"code\":\"overloaded\"}}";
static_assert(kTooMany.substr(kTooMany.find("{")).size() == 99);

thread_local HttpConnection* current_connection = nullptr;
thread_local bool over_limit = false;

bool ready(int socket, short events, int wait_ms) {
  pollfd p{socket, events, 0};
  int n = 0;
  do n = poll(&p, 1, wait_ms);
  while (n < 0 && errno == EINTR);
  return n > 0;
}

using NameOf = int (*)(int, sockaddr*, socklen_t*);
void address_of(int socket, NameOf name_of, std::string& ip, int& port) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST] = {}, service[NI_MAXSERV] = {};
  if (name_of(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
  constexpr int kNumbers = NI_NUMERICHOST | NI_NUMERICSERV;
  if (getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, service, sizeof service, kNumbers) != 0) return;
  ip = host;
  port = std::atoi(service);
}

}  // namespace

HttpConnection& HttpConnection::current() {
  R1_CHECK(current_connection != nullptr, "no request is served by this thread");
  return *current_connection;
}

bool HttpConnection::alive() const {
  if (!ready(socket_, POLLIN, 0)) return true;  // silent, hence open
  char byte = 0;
  const ssize_t n = recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

bool HttpConnection::wait_for_request(std::chrono::milliseconds wait, const std::atomic<bool>& stopping) {
  const auto end = std::chrono::steady_clock::now() + wait;
  while (begin_ == end_) {
    if (stopping || std::chrono::steady_clock::now() >= end) return false;
    if (ready(socket_, POLLIN, 50)) return alive();
  }
  return !stopping;
}

void HttpConnection::begin_request() {
  deadline_ = std::chrono::steady_clock::now() + read_limit_;
  in_head_ = true;
  head_bytes_ = 0;
}

int HttpConnection::left_ms() const {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::max<std::int64_t>(0, left));
}

void HttpConnection::close_gently() {
  shutdown(socket_, SHUT_WR);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  while (std::chrono::steady_clock::now() < end && ready(socket_, POLLIN, 100))
    if (recv(socket_, buffer_, sizeof buffer_, MSG_DONTWAIT) <= 0) break;
  ::close(socket_);
}

bool HttpConnection::is_readable() const { return begin_ < end_ || ready(socket_, POLLIN, left_ms()); }
bool HttpConnection::is_writable() const { return alive() && ready(socket_, POLLOUT, static_cast<int>(write_limit_.count())); }

ssize_t HttpConnection::read(char* out, std::size_t size) {
  if (begin_ == end_) {
    if (left_ms() == 0 || !ready(socket_, POLLIN, left_ms())) return -1;
    const ssize_t n = recv(socket_, buffer_, sizeof buffer_, 0);
    if (n <= 0) return n;
    begin_ = 0;
    end_ = static_cast<std::size_t>(n);
  }
  const std::size_t n = std::min(size, end_ - begin_);
  if (in_head_ && (head_bytes_ += n) > kMaxHead) return -1;
  std::memcpy(out, buffer_ + begin_, n);
  begin_ += n;
  return static_cast<ssize_t>(n);
}

ssize_t HttpConnection::write(const char* data, std::size_t size) {
  if (!ready(socket_, POLLOUT, static_cast<int>(write_limit_.count()))) return -1;
  return send(socket_, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void HttpConnection::get_remote_ip_and_port(std::string& ip, int& port) const { address_of(socket_, getpeername, ip, port); }
void HttpConnection::get_local_ip_and_port(std::string& ip, int& port) const { address_of(socket_, getsockname, ip, port); }

// A thread a connection, made when none is idle.
class BoundedHttpServer::Threads : public httplib::TaskQueue {
 public:
  explicit Threads(int limit) : limit_(static_cast<std::size_t>(limit)) {}
  void enqueue(std::function<void()> serve) override {
    {
      const std::lock_guard lock(mutex_);
      if (busy_ + jobs_.size() < limit_) {
        jobs_.push_back(std::move(serve));
        if (busy_ + jobs_.size() > threads_.size()) threads_.emplace_back([this] { run(); });
        serve = nullptr;
      }
    }
    if (!serve) return come_.notify_one();
    over_limit = true;  // refused by the thread that accepts
    serve();
    over_limit = false;
  }
  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    come_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      come_.wait(lock, [&] { return ended_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      const std::function<void()> serve = std::move(jobs_.front());
      jobs_.pop_front();
      ++busy_;
      lock.unlock();
      serve();
      lock.lock();
      --busy_;
    }
  }
  const std::size_t limit_;
  std::mutex mutex_;
  std::condition_variable come_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  std::size_t busy_ = 0;
  bool ended_ = false;
};

BoundedHttpServer::BoundedHttpServer(Limits limits) : limits_(limits) {
  new_task_queue = [this] { return new Threads(limits_.connections); };
  set_tcp_nodelay(true);
  // Not SO_REUSEPORT, the library's choice: a second server on the port is an error, not half of the calls.
  set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
}

void BoundedHttpServer::widen_backlog() { ::listen(svr_sock_, SOMAXCONN); }

bool BoundedHttpServer::process_and_close_socket(socket_t socket) {
  HttpConnection connection(socket, limits_.read, limits_.write);
  if (over_limit) {
    connection.write(kTooMany.data(), kTooMany.size());
    shutdown(socket, SHUT_RDWR);
    ::close(socket);
    return false;
  }
  current_connection = &connection;
  while (connection.wait_for_request(limits_.idle, stopping_)) {
    connection.begin_request();
    bool closed = false;
    if (!process_request(connection, stopping_, closed, nullptr) || closed || connection.closing()) break;
  }
  current_connection = nullptr;
  connection.close_gently();
  return true;
}

}  // namespace r1
