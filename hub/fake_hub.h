// A hub on this machine, faults included, for the tests of hub/.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <httplib.h>
#include <nlohmann/json.hpp>
#include <openssl/sha.h>

#include "core/error.h"
#include "hub/hub_client.h"

namespace r1::test {

namespace fs = std::filesystem;

inline std::string hex(const unsigned char* digest, std::size_t size) {
  std::string out;
  char two[3];
  for (std::size_t i = 0; i < size; ++i) std::snprintf(two, sizeof two, "%02x", digest[i]), out += two;
  return out;
}
inline std::string sha256(const std::string& text) {
  unsigned char d[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), d);
  return hex(d, sizeof d);
}
inline std::string git_id(const std::string& text) {
  const std::string all = message("blob ", text.size(), '\0') + text;
  unsigned char d[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(all.data()), all.size(), d);
  return hex(d, sizeof d);
}

inline constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";
// What signed addresses are made of: escaped slashes, colons, quotes and semicolons, a plus and an escaped one, an escaped percent sign.
inline constexpr const char* kSigned = "?X-Date=2026-01-01T00%3A00%3A00Z&disposition=inline%3B+filename%3D%22model.safetensors%22%3B&sig=a%2Fb%2Bc+d%25e%3D~";

// A server on a free port of this machine from here to its end.
class Running {
 public:
  explicit Running(httplib::Server& server) : port(server.bind_to_any_port("127.0.0.1")), server_(server), thread_([&server] { server.listen_after_bind(); }) {
    while (!server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ~Running() {
    server_.stop();
    thread_.join();
  }
  const int port;

 private:
  httplib::Server& server_;
  std::thread thread_;
};

// A hub with a model and a data set, and a storage on another port to which large files are redirected.
struct FakeHub {
  httplib::Server hub, storage;
  int hub_port = 0, storage_port = 0;
  std::map<std::string, std::string> files = {{"config.json", "{\"model_type\": \"llama\"}"}, {"tokenizer.json", "{}"}, {"README.md", "hello"}, {"pytorch_model.bin", "pickle"},
                                              {"model.safetensors", std::string()}, {"onnx/model.onnx", "x"}};
  std::string token;                      // asked for, where it is not empty
  std::atomic<int> cut_off{0};            // so many answers of the storage end half-way
  std::atomic<int> damaged{0};            // so many have a wrong byte
  std::atomic<int> busy{0};               // so many answers of the hub are 503
  std::atomic<bool> ranges{true};         // the storage knows ranges
  std::mutex mutex;
  std::vector<std::string> seen;          // what the storage was asked: "Range" and "Authorization" headers
  std::atomic<int> heads{0};

  std::optional<Running> hub_runs, storage_runs;

  FakeHub() {
    std::string& big = files["model.safetensors"];
    for (int i = 0; i < 300'000; ++i) big += static_cast<char>(i * 7 + i / 251);
    const auto guard = [this](const httplib::Request& r, httplib::Response& out) {
      if (busy > 0) return --busy, out.status = 503, false;
      if (!token.empty() && r.get_header_value("Authorization") != "Bearer " + token) return out.status = 401, false;
      return true;
    };
    hub.Get(R"(/api/models/org/name/revision/(.*))", [this, guard](const httplib::Request& r, httplib::Response& out) {
      if (!guard(r, out)) return;
      if (r.matches[1] != "main" && r.matches[1] != "v2") {
        out.status = 404;
        out.set_header("X-Error-Code", "RevisionNotFound");
        return;
      }
      nlohmann::json j = {{"sha", kCommit}, {"siblings", nlohmann::json::array()}};
      for (const auto& [name, text] : files) j["siblings"].push_back({{"rfilename", name}});
      out.set_content(j.dump(), "application/json");
    });
    hub.Get("/api/models/org/old/revision/main", [](const httplib::Request&, httplib::Response& out) { out.set_redirect("/api/models/org/name/revision/main", 307); });
    hub.Get("/api/models/org/evil/revision/main", [](const httplib::Request&, httplib::Response& out) {
      out.set_content(R"({"sha": "abc", "siblings": [{"rfilename": "../../escape.json"}]})", "application/json");
    });
    hub.Get(R"(/api/.*)", [](const httplib::Request&, httplib::Response& out) {
      out.status = 404;
      out.set_header("X-Error-Code", "RepoNotFound");
    });
    hub.Get(R"(/org/\w+/resolve/(\w+)/(.*))", [this, guard](const httplib::Request& r, httplib::Response& out) {
      if (!guard(r, out)) return;
      const auto it = files.find(r.matches[2]);
      if (r.matches[1] != kCommit || it == files.end()) {
        out.status = 404;
        out.set_header("X-Error-Code", "EntryNotFound");
        return;
      }
      heads += r.method == "HEAD";
      if (it->first.ends_with(".safetensors")) {
        out.set_redirect(message("http://localhost:", storage_port, "/bucket/", it->first, kSigned), 302);
        out.set_header("X-Linked-Etag", "\"" + sha256(it->second) + "\"");
        out.set_header("X-Linked-Size", std::to_string(it->second.size()));
        return;
      }
      out.set_header("ETag", "W/\"" + git_id(it->second) + "\"");
      out.set_content(it->second, "text/plain");
    });
    storage.Get(R"(/bucket/(.*))", [this](const httplib::Request& r, httplib::Response& out) {
      {
        const std::lock_guard lock(mutex);
        seen.push_back(message(r.get_header_value("Range"), "|", r.get_header_value("Authorization"), "|", r.target));
      }
      std::string text = files.at(r.matches[1]);
      if (damaged > 0) --damaged, text[text.size() / 3] ^= 1;
      std::size_t from = 0;
      if (ranges && r.has_header("Range")) from = std::stoull(r.get_header_value("Range").substr(6));
      if (cut_off > 0) {
        --cut_off;
        const std::string half = text.substr(from, (text.size() - from) / 2);
        if (from > 0) out.status = 206, out.set_header("Content-Range", message("bytes ", from, "-", text.size() - 1, "/", text.size()));
        const std::size_t all = text.size() - from;
        const_cast<httplib::Request&>(r).ranges.clear();  // the library would answer them by itself
        out.set_content_provider(all, "application/octet-stream", [half](std::size_t offset, std::size_t, httplib::DataSink& sink) {
          if (offset >= half.size()) return false;  // the connection breaks
          return sink.write(half.data() + offset, half.size() - offset);
        });
        return;
      }
      if (!ranges) const_cast<httplib::Request&>(r).ranges.clear();
      out.set_content(text, "application/octet-stream");
    });
    hub_runs.emplace(hub), storage_runs.emplace(storage);
    hub_port = hub_runs->port, storage_port = storage_runs->port;
  }

  HubOptions options(const fs::path& cache) const {
    HubOptions o;
    o.endpoint = message("http://127.0.0.1:", hub_port, "/");
    o.cache = cache;
    o.retries = 3;
    o.retry_wait_s = 0.01;
    o.timeout_s = 5;
    return o;
  }
};

inline fs::path pull(HubOptions options, const std::string& name) {
  const HubName parsed = *parse_hub_model(name);
  return HubClient(std::move(options)).pull(parsed, [&](const HubListing& l) { return choose_model_files(l, parsed); });
}

}  // namespace r1::test
