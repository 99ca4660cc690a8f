// For tests: an HTTP server on 127.0.0.1 that answers every POST by a function.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace r1::test {

class FakeServer {
 public:
  using Handler = std::function<void(const nlohmann::json& body, const httplib::Request&, httplib::Response&)>;
  explicit FakeServer(Handler handler) {
    server_.Post(".*", [this, handler](const httplib::Request& request, httplib::Response& response) {
      ++calls;
      handler(nlohmann::json::parse(request.body), request, response);
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
  }
  ~FakeServer() {
    server_.stop();
    thread_.join();
  }
  std::string url() const { return message("http://127.0.0.1:", port_, "/v1"); }
  std::atomic<int> calls = 0;

 private:
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace r1::test
