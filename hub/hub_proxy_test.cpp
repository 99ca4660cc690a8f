// Proxies: what the variables mean, and the hub through a real one.
#include <doctest/doctest.h>

#include <algorithm>
#include <list>
#include <map>
#include <mutex>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/files.h"
#include "hub/fake_hub.h"
#include "hub/hub_proxy.h"
#include "hub/redirect_address.h"
#include "tests/support/certificate.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::contains;
using test::error_of;

HubProxies read(std::map<std::string, std::string> variables) {
  return hub_proxies([&](const char* name) { return variables[name]; });
}

std::string where(const HubProxies& p, bool tls, const std::string& host, int port = 443) {
  const auto proxy = p.for_host(tls, host, port);
  return proxy ? message(proxy->host, ":", proxy->port) : "straight";
}

// Takes CONNECT and requests with a whole address, from those who know the password.
class Proxy {
 public:
  explicit Proxy(std::string password = "") : password_(std::move(password)), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in place{};
    place.sin_family = AF_INET, place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&place), sizeof place) == 0);
    socklen_t size = sizeof place;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&place), &size);
    port = ntohs(place.sin_port);
    REQUIRE(::listen(listener_, 16) == 0);
    thread_ = std::thread([this] {
      for (int client; (client = ::accept(listener_, nullptr, nullptr)) >= 0;) each_.emplace_back([this, client] { serve(client); });
    });
  }
  ~Proxy() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    for (auto& t : each_) t.join();
    ::close(listener_);
  }
  std::vector<std::string> seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  int port = 0;

 private:
  static void send_all(int to, const std::string& text) { (void)!::send(to, text.data(), text.size(), MSG_NOSIGNAL); }
  static void relay(int a, int b) {
    pollfd both[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
    char piece[65536];
    while (::poll(both, 2, 5000) > 0)
      for (int i = 0; i < 2; ++i) {
        if (!both[i].revents) continue;
        const ssize_t n = ::recv(both[i].fd, piece, sizeof piece, 0);
        if (n <= 0) return;
        send_all(both[1 - i].fd, std::string(piece, static_cast<std::size_t>(n)));
      }
  }
  void serve(int client) {
    std::string head;
    char c;
    while (!head.ends_with("\r\n\r\n") && ::recv(client, &c, 1, 0) == 1) head += c;
    const std::string line = head.substr(0, head.find("\r\n"));
    {
      const std::lock_guard lock(mutex_);
      seen_.push_back(line);
    }
    const bool tunnel = line.starts_with("CONNECT ");
    const std::size_t begin = line.find(' ') + (tunnel ? 1 : 1 + std::string_view("http://").size());
    const std::string place = line.substr(begin, line.find_first_of(" /", begin) - begin);
    sockaddr_in to{};
    to.sin_family = AF_INET, to.sin_addr.s_addr = htonl(INADDR_LOOPBACK), to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(place.substr(place.rfind(':') + 1))));
    const int server = ::socket(AF_INET, SOCK_STREAM, 0);
    if (!password_.empty() && head.find("Proxy-Authorization: Basic " + password_) == std::string::npos) {
      send_all(client, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    } else if (::connect(server, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
      send_all(client, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    } else {
      if (tunnel) send_all(client, "HTTP/1.1 200 Connection established\r\n\r\n");
      else send_all(server, head.replace(line.find("http://"), std::string_view("http://").size() + place.size(), ""));
      relay(client, server);
    }
    ::close(server), ::close(client);
  }

  std::string password_;
  int listener_;
  std::thread thread_;
  std::list<std::thread> each_;
  std::mutex mutex_;
  std::vector<std::string> seen_;
};

TEST_CASE("which proxy for which place") {
  const HubProxies p = read({{"HTTPS_PROXY", "http://secure:3128/"}, {"http_proxy", "plain:80"}, {"HTTP_PROXY", "other:81"},
                             {"NO_PROXY", "localhost, .corp.example,10.0.0.0/8,[::1]:8080,mirror.org:443,*.lab"}});
  CHECK(where(p, true, "huggingface.co") == "secure:3128");
  CHECK(where(p, false, "huggingface.co", 80) == "plain:80");  // small letters win
  for (const char* straight : {"localhost", "LOCALHOST", "a.corp.example", "corp.example", "10.200.3.4", "mirror.org", "x.mirror.org", "pc.lab"}) CHECK_MESSAGE(where(p, true, straight) == "straight", straight);
  for (const char* through : {"notlocalhost", "xcorp.example", "11.0.0.1", "lab.org"}) CHECK_MESSAGE(where(p, true, through) == "secure:3128", through);
  CHECK(where(p, true, "mirror.org", 8443) == "secure:3128");
  CHECK(where(p, true, "::1", 8080) == "straight");
  CHECK(where(p, true, "::1", 8081) == "secure:3128");
  CHECK(where(read({{"ALL_PROXY", "http://[::1]:3128"}}), true, "huggingface.co") == "::1:3128");
  CHECK(where(read({{"all_proxy", "a:1"}, {"no_proxy", "*"}}), true, "huggingface.co") == "straight");
  CHECK(where(read({}), true, "huggingface.co") == "straight");
  const HubProxies named = read({{"https_proxy", "http://us%40er:p%3Aw@secure:3128"}});
  CHECK(named.https->user == "us@er");
  CHECK(named.https->password == "p:w");
  CHECK(named.https->authorization() == "Basic dXNAZXI6cDp3");
}

TEST_CASE("a proxy that cannot be used is named, its password is not") {
  const std::string socks = error_of([] { read({{"ALL_PROXY", "socks5://me:secret@host:1080"}}); });
  CHECK(contains(socks, "ALL_PROXY: a proxy of the kind socks5://host:1080 is not spoken here"));
  CHECK_FALSE(contains(socks, "secret"));
  CHECK(contains(error_of([] { read({{"https_proxy", "http://ho st"}}); }), "https_proxy: 'ho st' is no proxy"));
}

TEST_CASE("a model comes through the proxy, redirects too") {
  test::FakeHub hub;
  const test::TempDir cache;
  Proxy proxy("dTpw");
  HubOptions options = hub.options(cache.path());
  options.proxies.http = HubProxy{"127.0.0.1", proxy.port, "u", "p"};
  const std::filesystem::path snapshot = test::pull(options, "org/name");
  CHECK(read_file((snapshot / "model.safetensors").string()) == hub.files["model.safetensors"]);
  CHECK(hub.seen.at(0) == message("||/bucket/model.safetensors", test::kSigned));
  const std::string storage = message(":", hub.storage_port, "/bucket/");
  int asked = 0;
  const auto seen = proxy.seen();
  for (const std::string& line : seen) {
    asked += contains(line, message(":", hub.hub_port, "/"));
    CHECK(contains(line, " http://"));
  }
  CHECK(asked > 3);
  CHECK(std::any_of(seen.begin(), seen.end(), [&](const std::string& line) { return contains(line, storage); }));

  options.proxies.none = "127.0.0.1,localhost";
  options.cache = cache / "straight";
  test::pull(options, "org/name");
  CHECK(proxy.seen().size() == seen.size());

  options.proxies = {}, options.cache = cache / "stranger", options.retries = 0;
  options.proxies.http = HubProxy{"127.0.0.1", proxy.port, "u", "wrong"};
  CHECK(contains(error_of([&] { test::pull(options, "org/name"); }), "407"));
}

TEST_CASE("TLS goes through the proxy's tunnel, to a certificate of the far end's name") {
  const test::TempDir dir;
  const std::string key = (dir / "k.pem").string(), cert = (dir / "c.pem").string();
  if (!test::make_certificate(key, cert)) {
    MESSAGE("no openssl here: not tried");
    return;
  }
  httplib::SSLServer server(cert.c_str(), key.c_str());
  server.Get("/a", [&](const httplib::Request&, httplib::Response& out) { out.set_redirect(message("https://storage/b", test::kSigned), 302); });
  server.Get("/api/models/org/name/revision/main", [&](const httplib::Request&, httplib::Response& out) {
    out.set_content(message("{\"sha\": \"", test::kCommit, "\", \"siblings\": []}"), "application/json");
  });
  const test::Running running(server);
  const int port = running.port;
  Proxy proxy("dTpw");
  HeadRequest request{"HEAD", true, "localhost", port, "/a", {}, cert, 10, HubProxy{"127.0.0.1", proxy.port, "u", "p"}};
  const RedirectAddress right = read_redirect(request);
  CHECK_MESSAGE(right.location == message("https://storage/b", test::kSigned), right.error);
  REQUIRE(proxy.seen().size() == 1);
  CHECK(proxy.seen()[0] == message("CONNECT localhost:", port, " HTTP/1.1"));
  request.ca_file.clear();
  CHECK(contains(read_redirect(request).error, "certificate verify failed"));
  request.ca_file = cert, request.proxy->password = "wrong";
  CHECK(contains(read_redirect(request).error, "answers with status 407"));
  request.proxy->port = 1;
  CHECK(contains(read_redirect(request).error, "no connection to the proxy"));

  HubOptions options;
  options.endpoint = message("https://localhost:", port), options.ca_file = cert, options.cache = dir / "cache", options.retries = 0, options.timeout_s = 5;
  options.proxies.https = HubProxy{"127.0.0.1", proxy.port, "u", "p"};
  CHECK(HubClient(options).list(*parse_hub_model("org/name")).commit == test::kCommit);
  CHECK(proxy.seen().back() == message("CONNECT localhost:", port, " HTTP/1.1"));
}

}  // namespace
}  // namespace r1
