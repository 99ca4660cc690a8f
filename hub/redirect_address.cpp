#include "hub/redirect_address.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <memory>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "core/error.h"

namespace r1 {
namespace {

constexpr std::size_t kLargestHead = 256 << 10;
constexpr unsigned kNapMs = 20;

std::string reason(const char* what) {
  char text[160] = "";
  if (const unsigned long code = ERR_peek_last_error()) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text[0] ? message(what, " (", text, ")") : what;
}

using Context = std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)>;
using Connection = std::unique_ptr<BIO, void (*)(BIO*)>;

// Empty, or why the peer's certificate could not be asked for.
std::string ask_for_certificate(const HeadRequest& request, SSL_CTX* context, BIO* bio) {
  SSL* ssl = nullptr;
  BIO_get_ssl(bio, &ssl);
  const bool roots = request.ca_file.empty() ? SSL_CTX_set_default_verify_paths(context) == 1 : SSL_CTX_load_verify_locations(context, request.ca_file.c_str(), nullptr) == 1;
  if (!ssl || !roots) return reason("no roots to trust");
  SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
  X509_VERIFY_PARAM* expected = SSL_get0_param(ssl);
  if (X509_VERIFY_PARAM_set1_ip_asc(expected, request.host.c_str()) == 1) return "";  // an address, which has no name to send
  ERR_clear_error();
  if (X509_VERIFY_PARAM_set1_host(expected, request.host.c_str(), 0) != 1 || SSL_set_tlsext_host_name(ssl, request.host.c_str()) != 1) return reason("no host name");
  return "";
}

bool write_all(BIO* bio, const std::string& text, std::time_t until) {
  for (std::size_t sent = 0; sent < text.size();) {
    const int n = BIO_write(bio, text.data() + sent, static_cast<int>(text.size() - sent));
    if (n > 0) sent += static_cast<std::size_t>(n);
    else if (!BIO_should_retry(bio) || BIO_wait(bio, until, kNapMs) <= 0) return false;
  }
  return true;
}

struct Head {
  std::string text, error;  // up to its empty line, which is left out; or why there is none
};

Head read_head(BIO* bio, int seconds) {
  std::string head;
  // Byte by byte: what follows a proxy's answer belongs to TLS.
  for (const std::time_t until = std::time(nullptr) + seconds; head.size() < kLargestHead;) {
    char c;
    if (BIO_read(bio, &c, 1) > 0) head += c;
    else if (!BIO_should_retry(bio) || BIO_wait(bio, until, kNapMs) <= 0) return {"", reason("the connection was closed early")};
    if (head.ends_with("\r\n\r\n")) return {head.substr(0, head.size() - 4), ""};
  }
  return {"", "the reply has no end of its head"};
}

std::string bracketed(const std::string& host) { return host.find(':') != std::string::npos ? "[" + host + "]" : host; }

// Empty, or why the proxy does not let this through.
std::string open_tunnel(BIO* bio, const HubProxy& proxy, const std::string& place, int seconds) {
  std::string text = message("CONNECT ", place, " HTTP/1.1\r\nHost: ", place, "\r\n");
  if (const std::string who = proxy.authorization(); !who.empty()) text += message("Proxy-Authorization: ", who, "\r\n");
  if (!write_all(bio, text + "\r\n", std::time(nullptr) + seconds)) return reason("the connection to the proxy broke");
  const Head head = read_head(bio, seconds);
  if (!head.error.empty()) return "the proxy: " + head.error;
  const int status = parse_redirect(head.text).status;
  return status / 100 == 2 ? "" : message("the proxy ", proxy.host, ":", proxy.port, " answers with status ", status);
}

}  // namespace

RedirectAddress parse_redirect(const std::string& head) {
  RedirectAddress out;
  if (!head.starts_with("HTTP/1.") || head.size() < 12 || head[8] != ' ') return {0, "", "the reply is no HTTP"};
  out.status = std::atoi(head.c_str() + 9);
  for (std::size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at)) {
    at += 2;
    constexpr char kName[] = "location:";
    std::size_t same = 0;
    while (kName[same] && at + same < head.size() && std::tolower(static_cast<unsigned char>(head[at + same])) == kName[same]) ++same;
    if (kName[same]) continue;
    const std::size_t end = std::min(head.find("\r\n", at), head.size());
    std::size_t first = at + same, last = end;
    while (first < last && (head[first] == ' ' || head[first] == '\t')) ++first;
    while (last > first && (head[last - 1] == ' ' || head[last - 1] == '\t')) --last;
    out.location = head.substr(first, last - first);
    break;
  }
  return out;
}

RedirectAddress read_redirect(const HeadRequest& request) {
  const int seconds = static_cast<int>(std::ceil(request.timeout_s));
  const std::string host = bracketed(request.host), place = message(host, ":", request.port);
  const Context context(request.tls ? SSL_CTX_new(TLS_client_method()) : nullptr, SSL_CTX_free);
  Connection bio(BIO_new(BIO_s_connect()), BIO_free_all);
  if (!bio) return {0, "", reason("OpenSSL opens no connection")};
  BIO_set_conn_hostname(bio.get(), (request.proxy ? message(bracketed(request.proxy->host), ":", request.proxy->port) : place).c_str());
  BIO_set_nbio(bio.get(), 1);
  if (BIO_do_connect_retry(bio.get(), seconds, static_cast<int>(kNapMs)) <= 0) return {0, "", reason(request.proxy ? "no connection to the proxy" : "no connection")};
  if (request.tls) {
    if (request.proxy)
      if (std::string why = open_tunnel(bio.get(), *request.proxy, place, seconds); !why.empty()) return {0, "", std::move(why)};
    BIO* secure = BIO_new_ssl(context.get(), 1);
    if (!secure) return {0, "", reason("OpenSSL opens no connection")};
    bio.reset(BIO_push(secure, bio.release()));
    if (std::string why = ask_for_certificate(request, context.get(), bio.get()); !why.empty()) return {0, "", std::move(why)};
    if (BIO_do_connect_retry(bio.get(), seconds, static_cast<int>(kNapMs)) <= 0) return {0, "", reason("no connection")};
  }

  const bool relayed = request.proxy && !request.tls;
  std::string text = message(request.method, " ", relayed ? "http://" + place : "", request.target, " HTTP/1.1\r\nHost: ", host);
  if (request.port != (request.tls ? 443 : 80)) text += message(":", request.port);
  text += "\r\nConnection: close\r\n";
  if (relayed && !request.proxy->authorization().empty()) text += message("Proxy-Authorization: ", request.proxy->authorization(), "\r\n");
  for (const auto& [name, value] : request.headers) text += message(name, ": ", value, "\r\n");
  if (!write_all(bio.get(), text + "\r\n", std::time(nullptr) + seconds)) return {0, "", reason("the connection broke")};
  const Head head = read_head(bio.get(), seconds);
  return head.error.empty() ? parse_redirect(head.text) : RedirectAddress{0, "", head.error};
}

}  // namespace r1
