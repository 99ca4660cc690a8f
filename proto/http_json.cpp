// Needs an HTTP library; no_http.cpp is built in its place where there is none.
#include "proto/http_json.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include <httplib.h>

#include "core/error.h"
#include "core/rng.h"
#include "core/signals.h"
#include "proto/http_url.h"

namespace r1 {
namespace {

using Clock = std::chrono::steady_clock;
using Status = HttpReply::Status;

constexpr std::size_t kMaxReply = std::size_t{8} << 20;

Clock::duration seconds(double s) { return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s)); }

// Ends requests at their deadline from outside: the library's own limits are for each read, so a server that sends a
// byte now and then would never run into them.
class Watchdog {
 public:
  Watchdog() : thread_([this] { run(); }) {}
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  class Guard {
   public:
    Guard(Watchdog& dog, httplib::Client& client, Clock::time_point deadline) : dog_(dog) {
      const std::lock_guard lock(dog_.mutex_);
      at_ = dog_.watched_.emplace(deadline, &client);
      dog_.changed_.notify_all();
    }
    ~Guard() {
      const std::lock_guard lock(dog_.mutex_);
      dog_.watched_.erase(at_);
    }

   private:
    Watchdog& dog_;
    std::multimap<Clock::time_point, httplib::Client*>::iterator at_;
  };

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!ended_) {
      const auto now = Clock::now();
      auto next = Clock::time_point::max();
      for (const auto& [deadline, client] : watched_) {
        if (deadline > now) {
          next = deadline;
          break;
        }
        client->stop();  // again at the next round, should it have been between two reads
        next = now + std::chrono::milliseconds(20);
      }
      if (next == Clock::time_point::max()) changed_.wait(lock);
      else changed_.wait_until(lock, next);
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<Clock::time_point, httplib::Client*> watched_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace

struct HttpJson::Impl {
  HttpJsonOptions options;
  HttpUrl url;
  std::string path;
  std::mutex mutex;
  std::vector<std::unique_ptr<httplib::Client>> free;
  Watchdog watchdog;

  std::unique_ptr<httplib::Client> connect() {
    {
      const std::lock_guard lock(mutex);
      if (!free.empty()) {
        auto client = std::move(free.back());
        free.pop_back();
        return client;
      }
    }
    const std::string host = url.host.find(':') != std::string::npos ? "[" + url.host + "]" : url.host;
    auto client = std::make_unique<httplib::Client>(message(url.tls ? "https" : "http", "://", host, ":", url.port));
    client->set_keep_alive(true);
    client->set_follow_location(false);
    client->set_tcp_nodelay(true);
#ifdef CPPHTTPLIB_OPENSSL_SUPPORT
    client->enable_server_certificate_verification(true);
    if (!options.ca_file.empty()) client->set_ca_cert_path(options.ca_file.c_str());
#endif
    return client;
  }
  HttpReply attempt(const std::string& body, Clock::time_point deadline, bool& again, double& wait);
};

HttpJson::HttpJson(HttpJsonOptions options, const std::string& endpoint) : impl_(std::make_unique<Impl>()) {
  const auto url = parse_http_url(options.url);
  if (!url) throw ConfigError(message("'", options.url, "' is no URL; write http://HOST:PORT/v1 or https://HOST/v1"));
#ifndef CPPHTTPLIB_OPENSSL_SUPPORT
  if (url->tls) throw ConfigError("this program's HTTP client was built without TLS; use http, or install libssl-dev and build again");
#endif
  impl_->url = *url;
  impl_->path = url->path.ends_with(endpoint) ? url->path : url->path + endpoint;
  impl_->options = std::move(options);
}
HttpJson::~HttpJson() = default;

HttpReply HttpJson::post(const std::string& body) {
  const HttpJsonOptions& o = impl_->options;
  const Clock::time_point deadline = Clock::now() + seconds(o.timeout_s);
  for (int attempt = 0;; ++attempt) {
    double wait = o.retry_wait_s * static_cast<double>(std::uint64_t{1} << std::min(attempt, 20));
    // Between half and all of it, so that many that were refused together do not come back together.
    wait *= 0.5 + 0.5 * static_cast<double>(mix64(std::hash<std::string>()(body) + static_cast<std::uint64_t>(attempt)) >> 11) * 0x1p-53;
    bool again = false;
    HttpReply reply = impl_->attempt(body, deadline, again, wait);
    if (!again) return reply;
    if (attempt >= o.retries) {
      if (attempt > 0) reply.text += message(" (after ", attempt, attempt == 1 ? " retry)" : " retries)");
      return reply;
    }
    const auto until = Clock::now() + seconds(wait);
    if (until >= deadline)
      return {Status::kTimeout, message(reply.text, "; the next retry would be past the ", o.timeout_s, " s (timeout)"), reply.cause, reply.code};
    while (Clock::now() < until) {
      if (stop_requested()) return {Status::kFailed, "interrupted", "interrupted", 0};
      std::this_thread::sleep_for(std::min<Clock::duration>(until - Clock::now(), std::chrono::milliseconds(50)));
    }
  }
}

// `again` and `wait`: whether and when to try once more.
HttpReply HttpJson::Impl::attempt(const std::string& body, Clock::time_point deadline, bool& again, double& wait) {
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - Clock::now());
  const HttpReply late{Status::kTimeout, message("no reply from ", options.url, " within ", options.timeout_s, " s (timeout)"), "timeout", 0};
  if (left.count() <= 0) return late;
  auto client = connect();
  client->set_connection_timeout(left);
  client->set_read_timeout(left);
  client->set_write_timeout(left);
  httplib::Request request;
  request.method = "POST";
  request.path = path;
  request.body = body;
  request.set_header("Content-Type", "application/json");
  if (!options.api_key.empty()) request.set_header("Authorization", "Bearer " + options.api_key);
  std::string text;
  bool too_long = false;
  request.content_receiver = [&](const char* data, std::size_t n, std::uint64_t, std::uint64_t) {
    text.append(data, n);
    too_long = text.size() > kMaxReply;
    return !too_long && Clock::now() < deadline;
  };
  const httplib::Result result = [&] {
    const Watchdog::Guard guard(watchdog, *client, deadline);
    return client->send(request);
  }();
  if (too_long) return {Status::kFailed, message(options.url, " sent more than ", kMaxReply >> 20, " MiB"), "reply too long", 0};
  if (!result) {
    if (Clock::now() + std::chrono::milliseconds(1) >= deadline) return late;
    again = true;
    return {Status::kFailed, message("no connection to ", options.url, ": ", httplib::to_string(result.error())), "no connection", 0};
  }
  const int status = result->status;
  const std::string retry_after = result->get_header_value("Retry-After");
  {
    const std::lock_guard lock(mutex);
    free.push_back(std::move(client));
  }
  if (status == 200) return {Status::kBody, std::move(text), {}, status};
  again = status == 408 || status == 429 || status >= 500;
  if (again && !retry_after.empty() && retry_after.find_first_not_of("0123456789") == std::string::npos && retry_after.size() < 7)
    wait = std::max(wait, std::stod(retry_after));
  return {Status::kFailed, message(options.url, " answered HTTP ", status, ": ", text.substr(0, 200)), message("HTTP ", status), status};
}

}  // namespace r1
