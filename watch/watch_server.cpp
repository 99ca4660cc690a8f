#include "watch/watch_server.h"

#include <charconv>
#include <thread>

#include "core/error.h"
#include "core/json_text.h"
#include "proto/http_connection.h"
#include "proto/loopback.h"
#include "report/assets.h"
#include "watch/assets.h"

namespace r1::watch {
namespace {

using httplib::Request;
using httplib::Response;

constexpr std::size_t kPage = 100, kMostRows = 1000;

// Pages of other sites must not read this one by a name of theirs that leads here.
bool is_own_name(const std::string& host) {
  const std::size_t colon = host.rfind(':');
  const bool has_port = colon != std::string::npos && host.find(']', colon) == std::string::npos;
  return is_loopback(has_port ? host.substr(0, colon) : host);
}

std::int64_t number(const Request& request, const char* name, std::int64_t fallback) {
  if (!request.has_param(name)) return fallback;
  const std::string text = request.get_param_value(name);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) throw ConfigError(message(name, " is no whole number: ", text));
  return value;
}

std::size_t index(const Request& request, const char* name, std::size_t fallback = 0) {
  const std::int64_t value = number(request, name, static_cast<std::int64_t>(fallback));
  if (value < 0) throw ConfigError(message(name, " is ", value));
  return static_cast<std::size_t>(value);
}

}  // namespace

struct WatchServer::Impl {
  Impl(const WatchData& d, bool o) : data(d), open(o), http({64, std::chrono::seconds(10), std::chrono::seconds(10), std::chrono::seconds(15)}) {}

  void answer(const Request& request, Response& response, const std::function<std::string()>& make, const char* type) const {
    if (!open && !is_own_name(request.get_header_value("Host"))) {
      response.status = 403;
      response.set_content("r1 watch answers to names of this machine alone", "text/plain");
      return;
    }
    response.set_header("Cache-Control", "no-store");
    response.set_header("X-Content-Type-Options", "nosniff");
    response.set_header("Referrer-Policy", "no-referrer");
    response.set_header("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
                                                   "form-action 'none'; frame-ancestors 'none'");
    try {
      response.set_content(make(), type);
    } catch (const std::exception& e) {
      response.status = dynamic_cast<const ConfigError*>(&e) ? 404 : 500;
      response.set_content(message("{\"error\":", json_quote(e.what()), "}"), "application/json");
    }
  }

  void route(const char* path, const char* type, std::function<std::string(const Request&)> make) {
    http.Get(path, [this, type, make = std::move(make)](const Request& request, Response& response) {
      answer(request, response, [&] { return make(request); }, type);
    });
  }

  void set_routes() {
    route("/", "text/html; charset=utf-8", [](const Request&) { return std::string(page_html()); });
    route("/style.css", "text/css; charset=utf-8", [](const Request&) { return message(report::page_css(), app_css()); });
    route("/app.js", "text/javascript; charset=utf-8", [](const Request&) { return message(report::page_js(), app_js()); });
    route("/api/state", "application/json", [this](const Request&) { return data.state(); });
    route("/api/curves", "text/html; charset=utf-8", [this](const Request&) { return data.curves(); });
    route("/api/samples", "application/json", [this](const Request& r) {
      return data.samples(index(r, "run"), number(r, "step", -1), r.get_param_value("filter"), r.get_param_value("q"), index(r, "offset"),
                          std::min(index(r, "limit", kPage), kMostRows));
    });
    route("/api/sample", "application/json", [this](const Request& r) { return data.sample(index(r, "run"), number(r, "step", -1), index(r, "group"), index(r, "sample")); });
  }

  const WatchData& data;
  const bool open;
  BoundedHttpServer http;
  int port = 0;
  std::atomic<bool> ended{false};
  std::thread thread;
};

WatchServer::WatchServer(const std::string& listen, bool open, const WatchData& data) : impl_(std::make_unique<Impl>(data, open)) {
  const std::size_t colon = listen.rfind(':');
  int port = 0;
  const char* end = listen.data() + listen.size();
  if (colon == std::string::npos || std::from_chars(listen.data() + colon + 1, end, port).ptr != end || port < 0 || port > 65535)
    throw ConfigError(message("--listen ", listen, ": write HOST:PORT, e.g. 127.0.0.1:8100"));
  std::string host = listen.substr(0, colon);
  if (!open && !is_loopback(host))
    throw ConfigError(message("--listen ", listen, ": the page has no password, and others would see prompts and completions; use 127.0.0.1, or --open if that is wanted"));
  if (host.starts_with("[") && host.ends_with("]")) host = host.substr(1, host.size() - 2);
  impl_->set_routes();
  impl_->port = port == 0 ? impl_->http.bind_to_any_port(host) : impl_->http.bind_to_port(host, port) ? port : -1;
  if (impl_->port < 0) throw ConfigError(message("--listen ", listen, " cannot be listened on; another port may be free (0: any)"));
  impl_->http.widen_backlog();
  impl_->thread = std::thread([impl = impl_.get()] {
    impl->http.listen_after_bind();
    impl->ended = true;
  });
}

WatchServer::~WatchServer() {
  impl_->http.stop_connections();
  while (!impl_->http.is_running() && !impl_->ended) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // destroyed as soon as it was made
  impl_->http.stop();
  impl_->thread.join();
}

int WatchServer::port() const { return impl_->port; }

}  // namespace r1::watch
