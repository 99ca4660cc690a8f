#include "proto/http_chat.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "core/signals.h"
#include "proto/http_url.h"

namespace r1 {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;
using Status = ChatReply::Status;

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

class HttpChat {
 public:
  explicit HttpChat(HttpChatOptions options) : options_(std::move(options)) {
    const auto url = parse_http_url(options_.url);
    if (!url) throw ConfigError(message("'", options_.url, "' is no URL; write http://HOST:PORT/v1 or https://HOST/v1"));
    url_ = *url;
    path_ = url_.path.ends_with("/chat/completions") ? url_.path : url_.path + "/chat/completions";
    if (!options_.extra_json.empty()) {
      extra_ = Json::parse(options_.extra_json, nullptr, false);
      if (!extra_.is_object()) throw ConfigError("extra must be a section of names and values");
    }
#ifndef CPPHTTPLIB_OPENSSL_SUPPORT
    if (url_.tls) throw ConfigError("this program's HTTP client was built without TLS; use http, or install libssl-dev and build again");
#endif
  }

  ChatReply ask(const ChatRequest& request) {
    const Clock::time_point deadline = Clock::now() + seconds(options_.timeout_s);
    const std::string body = write(request);
    for (int attempt = 0;; ++attempt) {
      double wait = options_.retry_wait_s * static_cast<double>(std::uint64_t{1} << std::min(attempt, 20));
      // Between half and all of it, so that many that were refused together do not come back together.
      wait *= 0.5 + 0.5 * static_cast<double>(mix64(std::hash<std::string>()(body) + static_cast<std::uint64_t>(attempt)) >> 11) * 0x1p-53;
      bool again = false;
      ChatReply reply = attempt_once(body, deadline, again, wait);
      if (!again) return reply;
      if (attempt >= options_.retries) {
        if (attempt > 0) reply.text += message(" (after ", attempt, attempt == 1 ? " retry)" : " retries)");
        return reply;
      }
      const auto until = Clock::now() + seconds(wait);
      if (until >= deadline) return {Status::kTimeout, message(reply.text, "; the next retry would be past the ", options_.timeout_s, " s (timeout)"), reply.cause};
      while (Clock::now() < until) {
        if (stop_requested()) return {Status::kFailed, "interrupted", "interrupted"};
        std::this_thread::sleep_for(std::min<Clock::duration>(until - Clock::now(), std::chrono::milliseconds(50)));
      }
    }
  }

 private:
  std::string write(const ChatRequest& request) const {
    Json body = {{"model", options_.model}, {"messages", Json::array()}, {"temperature", request.temperature},
                 {"max_tokens", request.max_tokens}, {"seed", request.seed}, {"stream", false}};
    for (const Message& m : request.messages) body["messages"].push_back({{"role", m.role}, {"content", m.content}});
    if (request.top_p < 1) body["top_p"] = request.top_p;
    if (!request.stop.empty()) body["stop"] = request.stop;
    if (!extra_.is_null()) body.merge_patch(extra_);
    return body.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  std::unique_ptr<httplib::Client> connect() {
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        auto client = std::move(free_.back());
        free_.pop_back();
        return client;
      }
    }
    const std::string host = url_.host.find(':') != std::string::npos ? "[" + url_.host + "]" : url_.host;
    auto client = std::make_unique<httplib::Client>(message(url_.tls ? "https" : "http", "://", host, ":", url_.port));
    client->set_keep_alive(true);
    client->set_follow_location(false);
    client->set_tcp_nodelay(true);
#ifdef CPPHTTPLIB_OPENSSL_SUPPORT
    client->enable_server_certificate_verification(true);
    if (!options_.ca_file.empty()) client->set_ca_cert_path(options_.ca_file.c_str());
#endif
    return client;
  }

  // `again` and `wait`: whether and when to try once more.
  ChatReply attempt_once(const std::string& body, Clock::time_point deadline, bool& again, double& wait) {
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - Clock::now());
    const ChatReply late{Status::kTimeout, message("no reply from ", options_.url, " within ", options_.timeout_s, " s (timeout)"), "timeout"};
    if (left.count() <= 0) return late;
    auto client = connect();
    client->set_connection_timeout(left);
    client->set_read_timeout(left);
    client->set_write_timeout(left);
    httplib::Request request;
    request.method = "POST";
    request.path = path_;
    request.body = body;
    request.set_header("Content-Type", "application/json");
    if (!options_.api_key.empty()) request.set_header("Authorization", "Bearer " + options_.api_key);
    std::string text;
    bool too_long = false;
    request.content_receiver = [&](const char* data, std::size_t n, std::uint64_t, std::uint64_t) {
      text.append(data, n);
      too_long = text.size() > kMaxReply;
      return !too_long && Clock::now() < deadline;
    };
    const httplib::Result result = [&] {
      const Watchdog::Guard guard(watchdog_, *client, deadline);
      return client->send(request);
    }();
    if (too_long) return {Status::kFailed, message(options_.url, " sent more than ", kMaxReply >> 20, " MiB"), "reply too long"};
    if (!result) {
      if (Clock::now() + std::chrono::milliseconds(1) >= deadline) return late;
      again = true;
      return {Status::kFailed, message("no connection to ", options_.url, ": ", httplib::to_string(result.error())), "no connection"};
    }
    const int status = result->status;
    const std::string retry_after = result->get_header_value("Retry-After");
    {
      const std::lock_guard lock(mutex_);
      free_.push_back(std::move(client));
    }
    if (status != 200) {
      again = status == 408 || status == 429 || status >= 500;
      if (again && !retry_after.empty() && retry_after.find_first_not_of("0123456789") == std::string::npos && retry_after.size() < 7)
        wait = std::max(wait, std::stod(retry_after));
      return {Status::kFailed, message(options_.url, " answered HTTP ", status, ": ", text.substr(0, 200)), message("HTTP ", status)};
    }
    return read(text);
  }

  ChatReply read(const std::string& text) const {
    const Json json = Json::parse(text, nullptr, false);
    const auto malformed = [&](const char* what) {
      return ChatReply{Status::kFailed, message(options_.url, ": ", what, ": ", text.substr(0, 200)), "malformed reply"};
    };
    if (!json.is_object()) return malformed("the reply is no JSON object");
    const Json choices = json.value("choices", Json());
    if (!choices.is_array() || choices.empty() || !choices[0].is_object()) return malformed("the reply has no choices");
    const Json answer = choices[0].value("message", Json());
    if (!answer.is_object()) return malformed("the reply has no message text");
    ChatReply reply{Status::kText, {}, {}};
    const auto text_of = [](const Json& object, const char* key) {
      const auto it = object.find(key);
      return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
    };
    reply.reasoning = text_of(answer, "reasoning_content");
    if (reply.reasoning.empty()) reply.reasoning = text_of(answer, "reasoning");
    // A reply that ended inside its reasoning may have no text at all.
    if (reply.reasoning.empty() && (!answer.contains("content") || !answer["content"].is_string())) return malformed("the reply has no message text");
    reply.text = text_of(answer, "content");
    reply.finish = text_of(choices[0], "finish_reason");
    if (const auto usage = json.find("usage"); usage != json.end() && usage->is_object())
      if (const auto n = usage->find("completion_tokens"); n != usage->end() && n->is_number_integer()) reply.tokens = n->get<std::int64_t>();
    return reply;
  }

  HttpChatOptions options_;
  HttpUrl url_;
  std::string path_;
  Json extra_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<httplib::Client>> free_;
  Watchdog watchdog_;
};

}  // namespace

bool http_available() { return true; }

ChatClient make_http_chat(HttpChatOptions options) {
  const std::string identity = message(options.url, " ", options.model, " ", options.extra_json);
  auto chat = std::make_shared<HttpChat>(std::move(options));
  return {[chat](const ChatRequest& request) { return chat->ask(request); }, identity};
}

}  // namespace r1
