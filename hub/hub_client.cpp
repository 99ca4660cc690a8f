#include "hub/hub_client.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/signals.h"
#include "hub/digest_check.h"
#include "hub/hub_http.h"
#include "hub/redirect_address.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
constexpr int kHops = 8;  // redirects of a request

std::string env(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string trimmed(std::string text) {
  text.erase(std::find_if(text.begin(), text.end(), [](unsigned char c) { return c <= ' '; }), text.end());
  return text;
}

bool safe_path(const std::string& file) {
  const fs::path path(file);
  return !file.empty() && !path.is_absolute() && std::none_of(path.begin(), path.end(), [](const fs::path& p) { return p == ".." || p == "."; }) &&
         file.find('\0') == std::string::npos;
}

std::string unquoted(std::string etag) {
  if (etag.starts_with("W/")) etag = etag.substr(2);
  std::erase(etag, '"');
  return etag;
}

std::string prefix(const HubName& name) { return name.dataset ? "/datasets/" : "/"; }

}  // namespace

struct HubClient::Reply {
  int status = 0;  // 0 = there was none
  std::string url, body, error, location, etag, linked_etag, commit, code, range;
  std::uint64_t length = 0, linked_size = 0;
  double retry_after = 0;
};

struct HubClient::Remote {
  std::string file, url, etag;
  std::uint64_t size = 0;
};

HubOptions hub_options_from_environment() {
  HubOptions o;
  if (const std::string endpoint = env("HF_ENDPOINT"); !endpoint.empty()) o.endpoint = endpoint;
  o.token = env("HF_TOKEN");
  for (const std::string& file : {env("HF_TOKEN_PATH"), env("HF_HOME").empty() ? "" : env("HF_HOME") + "/token", env("HOME").empty() ? "" : env("HOME") + "/.cache/huggingface/token"}) {
    std::error_code none;
    if (o.token.empty() && !file.empty() && fs::is_regular_file(file, none)) o.token = read_file(file);
  }
  o.token = trimmed(o.token);
  o.ca_file = env("SSL_CERT_FILE");
  o.proxies = hub_proxies(env);
  const std::string offline = env("HF_HUB_OFFLINE");
  o.offline = !offline.empty() && offline != "0" && offline != "false";
  const auto caches = hub_caches();
  if (caches.empty()) throw ConfigError("there is no place for the hub's cache: set HF_HOME");
  o.cache = caches.front();
  return o;
}

HubClient::HubClient(HubOptions options) : options_(std::move(options)) {
  check_hub_endpoint(options_);
}

HubClient::Reply HubClient::request(const char* method, const std::string& url, bool with_token, std::uint64_t from,
                                    const std::function<bool(const char*, std::size_t)>& sink, const std::function<bool(const Reply&)>& on_head) {
  const HubTarget target = hub_target(url);
  const auto connection = hub_connection(target, options_);
  httplib::Client& client = *connection;
  httplib::Headers headers = {{"User-Agent", "r1"}, {"Accept-Encoding", "identity"}};
  if (with_token) add_hub_token(headers, target, options_);
  if (from > 0) headers.emplace("Range", message("bytes=", from, "-"));
  Reply out;
  out.url = url;
  const auto read_head = [&](const httplib::Response& r) {
    out.status = r.status;
    out.location = r.get_header_value("Location");
    out.etag = unquoted(r.get_header_value("ETag"));
    out.linked_etag = unquoted(r.get_header_value("X-Linked-Etag"));
    out.commit = r.get_header_value("X-Repo-Commit");
    out.code = r.get_header_value("X-Error-Code");
    out.range = r.get_header_value("Content-Range");
    out.length = std::strtoull(r.get_header_value("Content-Length").c_str(), nullptr, 10);
    out.linked_size = std::strtoull(r.get_header_value("X-Linked-Size").c_str(), nullptr, 10);
    out.retry_after = std::strtod(r.get_header_value("Retry-After").c_str(), nullptr);
  };
  httplib::Result result{nullptr, httplib::Error::Unknown};
  if (std::string_view(method) == "HEAD") {
    result = client.Head(target.rest, headers);
  } else {
    result = client.Get(
        target.rest, headers,
        [&](const httplib::Response& r) {
          read_head(r);
          return !on_head || on_head(out);
        },
        [&](const char* data, std::size_t size) {
          if (stop_requested()) return false;
          if (sink && (out.status == 200 || out.status == 206)) return sink(data, size);
          if (out.body.size() < (std::size_t{64} << 20)) out.body.append(data, size);
          return true;
        });
  }
  throw_if_stopped();
  if (result) read_head(*result);
  else {
    out.error = httplib::to_string(result.error());
    if (!sink) out.status = 0;
  }
  if (out.status >= 300 && out.status < 400 && !out.location.empty()) {
    const RedirectAddress exact = read_redirect({method, target.url.tls, target.url.host, target.url.port, target.rest, {headers.begin(), headers.end()}, options_.ca_file, options_.timeout_s,
                                                options_.proxies.for_host(target.url.tls, target.url.host, target.url.port)});
    out.location = exact.location;
    if (exact.status < 300 || exact.status >= 400 || exact.location.empty()) out.status = 0, out.error = exact.error.empty() ? "a redirect that is none the second time" : exact.error;
  }
  return out;
}

void HubClient::refuse(const HubName& name, const Reply& reply, const std::string& file) const {
  const std::string what = message(name.dataset ? "data set " : "model ", name.id), at = message(" at ", options_.endpoint);
  const std::string copy = message("where there is a network, r1 pull ", name.dataset ? "'" + to_string(name) + "'" : to_string(name), " fills ", options_.cache.string(),
                                   ", which can be copied here; or give the path of a folder");
  switch (reply.status) {
    case 0: throw IoError(message(what, " is not in the cache, and ", options_.endpoint, " cannot be reached (", reply.error, "); ", copy));
    case 401:
    case 403:
      throw ConfigError(message(what, at, " may not be read (HTTP ", reply.status, "): it is private or gated, or there is none of that name; ",
                                options_.token.empty() ? "set HF_TOKEN to a token that may" : "HF_TOKEN is set, but its owner may not: ask for access on the model's page"));
    case 404:
      if (reply.code == "RevisionNotFound") throw ConfigError(message(what, at, " has no revision ", name.revision));
      if (reply.code == "EntryNotFound" && !file.empty()) throw ConfigError(message(what, at, " has no file ", file));
      throw ConfigError(message("there is no ", what, at, name.revision == "main" ? "" : " with revision " + name.revision));
    default: throw IoError(message(what, ": ", options_.endpoint, " answers HTTP ", reply.status, " (after ", options_.retries, " retries); try again later; ", copy));
  }
}

// Retries what passes, follows no redirect.
HubClient::Reply HubClient::ask(const HubName& name, const std::string& path) {
  if (options_.offline) {
    Reply none;
    none.error = "HF_HUB_OFFLINE is set";
    refuse(name, none, "");
  }
  double wait = options_.retry_wait_s;
  for (int attempt = 0;; ++attempt, wait *= 2) {
    std::string url = options_.endpoint + path;
    Reply reply;
    for (int hop = 0; hop < kHops; ++hop) {  // renamed repositories
      reply = request("GET", url, true, 0, {}, {});
      if (reply.status < 300 || reply.status >= 400 || reply.location.empty()) break;
      url = reply.location.starts_with('/') ? hub_target(url).origin + reply.location : reply.location;
    }
    if (reply.status == 200) return reply;
    if (!hub_status_passes(reply.status) || attempt >= options_.retries || (reply.status == 0 && attempt >= 1)) refuse(name, reply, "");
    std::this_thread::sleep_for(std::chrono::duration<double>(std::max(wait, std::min(reply.retry_after, 60.0))));
  }
}

HubListing HubClient::list(const HubName& name) {
  const Reply reply = ask(name, message("/api/", name.dataset ? "datasets/" : "models/", escape_hub_path(name.id), "/revision/", escape_hub_path(name.revision)));
  const auto j = nlohmann::json::parse(reply.body, nullptr, false);
  HubListing out;
  if (j.is_object() && j.contains("sha") && j["sha"].is_string()) out.commit = j["sha"];
  if (!j.is_object() || !j.contains("siblings") || !j["siblings"].is_array() || out.commit.empty() || !safe_path(out.commit) || out.commit.find('/') != std::string::npos)
    throw IoError(message(options_.endpoint, " answers something else than the hub does; is HF_ENDPOINT right?"));
  for (const auto& file : j["siblings"]) {
    if (!file.is_object() || !file.contains("rfilename") || !file["rfilename"].is_string()) continue;
    if (!safe_path(file["rfilename"])) throw IoError(message(options_.endpoint, " names a file outside the repository: ", file["rfilename"].dump()));
    out.files.push_back(file["rfilename"]);
  }
  return out;
}

// Size and digest, and where the bytes lie.
HubClient::Remote HubClient::locate(const HubName& name, const std::string& commit, const std::string& file) {
  double wait = options_.retry_wait_s;
  for (int attempt = 0;; ++attempt, wait *= 2) {
    Remote remote;
    remote.file = file;
    remote.url = message(options_.endpoint, prefix(name), escape_hub_path(name.id), "/resolve/", commit, "/", escape_hub_path(file));
    Reply reply;
    for (int hop = 0; hop < kHops; ++hop) {
      reply = request("HEAD", remote.url, true, 0, {}, {});
      if (!reply.linked_etag.empty()) remote.etag = reply.linked_etag, remote.size = reply.linked_size;
      if (reply.status < 300 || reply.status >= 400 || reply.location.empty()) break;
      remote.url = reply.location.starts_with('/') ? hub_target(remote.url).origin + reply.location : reply.location;
      if (!remote.etag.empty() && remote.size > 0) return remote;  // large files: the rest is the storage's business
    }
    if (reply.status == 200) {
      if (remote.etag.empty()) remote.etag = reply.etag;
      if (remote.size == 0) remote.size = reply.length;
      if (remote.etag.empty() || !safe_path(remote.etag) || remote.etag.find('/') != std::string::npos)
        throw IoError(message(options_.endpoint, " gives no digest of ", file));
      return remote;
    }
    if (!hub_status_passes(reply.status) || attempt >= options_.retries) refuse(name, reply, file);
    std::this_thread::sleep_for(std::chrono::duration<double>(std::max(wait, std::min(reply.retry_after, 60.0))));
  }
}

// True if the partial file is whole now; else `why`.
bool HubClient::fetch_once(const HubName& name, const Remote& remote, const fs::path& partial, const std::function<void(std::uint64_t, std::uint64_t)>& progress,
                           std::string& why) {
  std::uint64_t have = 0;
  std::error_code none;
  if (fs::exists(partial, none)) have = fs::file_size(partial);
  if (have > remote.size) fs::resize_file(partial, 0), have = 0;
  if (have == remote.size && remote.size > 0) return true;
  File out(partial, File::Mode::kAppend);
  std::optional<std::string> failed;  // what writing threw: the library must not see it
  const auto head = [&](const Reply& r) {
    if (r.status == 206 && !r.range.starts_with(message("bytes ", have, "-"))) return false;  // other bytes than were asked for
    if (r.status == 200 && have > 0) out.truncate(0), have = 0;                                // ranges are not known there
    return true;
  };
  const auto sink = [&](const char* data, std::size_t size) {
    try {
      out.write({data, size});
    } catch (const IoError& e) {
      failed = e.what();
      return false;
    }
    have += size;
    if (progress) progress(have, remote.size);
    return have <= remote.size || remote.size == 0;
  };
  std::string url = remote.url;
  Reply reply;
  for (int hop = 0; hop < kHops; ++hop) {
    reply = request("GET", url, true, have, sink, head);
    if (failed) throw IoError(*failed);
    if (reply.status < 300 || reply.status >= 400 || reply.location.empty()) break;
    url = reply.location.starts_with('/') ? hub_target(url).origin + reply.location : reply.location;
  }
  out.sync();
  if (reply.status == 416) out.truncate(0);
  else if (reply.status != 0 && reply.status != 200 && reply.status != 206 && !hub_status_passes(reply.status)) refuse(name, reply, remote.file);
  why = reply.status != 0 && reply.status != 200 && reply.status != 206 ? message("HTTP ", reply.status) : reply.error.empty() ? "the connection was closed early" : reply.error;
  return out.size() == remote.size;
}

void HubClient::fetch(const HubName& name, const Remote& remote, const fs::path& blob, const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  const fs::path partial = blob.string() + ".incomplete";
  for (int damaged = 0;; ++damaged) {
    double wait = options_.retry_wait_s;
    std::uint64_t before = 0;
    for (int attempt = 0;; ++attempt) {
      std::string why;
      if (fetch_once(name, remote, partial, progress, why)) break;
      const std::uint64_t now = fs::file_size(partial);
      if (now > before) attempt = 0, wait = options_.retry_wait_s;  // it goes on, however slowly
      before = now;
      if (attempt >= options_.retries)
        throw IoError(message(name.id, ": ", remote.file, " stops at ", now, " of ", remote.size, " bytes (", why, "); give the command again: it goes on from there"));
      std::this_thread::sleep_for(std::chrono::duration<double>(wait));
      wait *= 2;
    }
    if (digest_matches(partial, remote.etag)) break;
    fs::remove(partial);
    if (damaged >= 1)
      throw IoError(message(name.id, ": ", remote.file, " was received twice with another digest than the hub's (", remote.etag, "); is HF_ENDPOINT (", options_.endpoint, ") a faithful mirror?"));
  }
  fs::rename(partial, blob);
  sync_directory(blob.parent_path());
}

fs::path HubClient::pull(const HubName& name, const std::function<std::vector<std::string>(const HubListing&)>& choose, const std::function<void(const HubProgress&)>& progress) {
  const HubListing listing = list(name);
  const std::vector<std::string> files = choose(listing);
  const fs::path repository = hub_folder(options_.cache, name), snapshot = repository / "snapshots" / listing.commit;
  make_directories(repository / "blobs");
  make_directories(snapshot);
  for (std::size_t i = 0; i < files.size(); ++i) {
    throw_if_stopped();
    const fs::path link = snapshot / files[i];
    std::error_code none;
    if (fs::exists(link, none)) continue;
    const Remote remote = locate(name, listing.commit, files[i]);
    const fs::path blob = repository / "blobs" / remote.etag;
    if (!fs::exists(blob, none)) {
      if (remote.size == 0) write_file_atomic(blob, "");
      else
        fetch(name, remote, blob, [&](std::uint64_t bytes, std::uint64_t total) {
          if (progress) progress({files[i], i + 1, files.size(), bytes, total});
        });
    }
    make_directories(link.parent_path());
    const fs::path fresh = link.string() + ".tmp-link";
    fs::remove(fresh, none);
    fs::create_symlink(fs::absolute(blob).lexically_relative(fs::absolute(link).parent_path()), fresh);
    fs::rename(fresh, link);
  }
  // Last: a name that points at a snapshot means that all of it is there.
  const fs::path ref = repository / "refs" / name.revision;
  make_directories(ref.parent_path());
  write_file_atomic(ref, listing.commit);
  return snapshot;
}

std::vector<std::string> choose_model_files(const HubListing& listing, const HubName& name) {
  std::vector<std::string> out, gguf;
  bool weights = false;
  for (const std::string& file : listing.files) {
    if (file.find('/') != std::string::npos) continue;
    const bool tensors = file.ends_with(".safetensors");
    weights = weights || tensors;
    if (tensors || file.ends_with(".safetensors.index.json") || file == "config.json" || file == "generation_config.json" || file.starts_with("tokenizer") || file == "vocab.json" ||
        file == "merges.txt" || file == "special_tokens_map.json" || file == "added_tokens.json" || file.starts_with("chat_template") || file == "adapter_config.json" || file == "README.md")
      out.push_back(file);
    if (file.ends_with(".gguf")) gguf.push_back(file);
  }
  if (weights) return out;
  if (gguf.size() == 1) {
    out.push_back(gguf[0]);
    return out;
  }
  std::string all;
  for (const std::string& file : listing.files) all += (all.empty() ? "" : ", ") + file;
  throw ConfigError(message(name.id, gguf.empty() ? " has no safetensors (other formats hold code and are not read)" : " has several GGUF files: r1 pull --include names one", "; it has ",
                            all.substr(0, 400)));
}

}  // namespace r1
