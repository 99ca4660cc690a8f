// Downloads from the Hugging Face hub, or a mirror that speaks its API, into the cache that its own tools use. No type of the HTTP
// library in this header.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/hub_name.h"
#include "hub/hub_proxy.h"

namespace r1 {

struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  std::string token;             // sent to the endpoint's host alone, never to where it redirects. Never logged
  std::string ca_file;           // roots to trust for https; empty = the system's
  HubProxies proxies;
  bool offline = false;          // every call fails at once
  std::filesystem::path cache;
  int retries = 5;               // after lost connections, 408, 429 and 5xx; what was received is kept
  double retry_wait_s = 1;       // before the first; doubled each time
  double timeout_s = 30;         // without a byte
};
// HF_ENDPOINT, HF_TOKEN (else the file HF_TOKEN_PATH, HF_HOME/token or ~/.cache/huggingface/token), SSL_CERT_FILE, HF_HUB_OFFLINE, the
// variables of hub_proxy.h, and the first of hub_caches(). Throws ConfigError where there is no place for the cache, and for a proxy that cannot be used.
HubOptions hub_options_from_environment();

struct HubListing {
  std::string commit;
  std::vector<std::string> files;
};

struct HubProgress {
  std::string file;
  std::size_t number = 0, files = 0;     // from 1
  std::uint64_t bytes = 0, total = 0;    // of this file
};

// What is downloaded is checked against the hub's digest (SHA-256 of large files, git's of small ones) before it gets its name. A download
// that was cut off goes on where it stopped, in a later call too. One process at a time for a file; not thread-safe.
class HubClient {
 public:
  // Throws ConfigError for an endpoint that cannot be read, a token that would go out in clear text, and a build without TLS.
  explicit HubClient(HubOptions options);

  // Throws ConfigError: no such model, revision, or no right to read it; IoError: no network, what to do then.
  HubListing list(const HubName& name);
  // Gets the files of the name's revision that `wanted` says yes to and that are not in the cache, and returns the snapshot's folder.
  // Throws like list(); IoError for a digest that is wrong twice, and a full disk; Interrupted after a stop signal.
  std::filesystem::path pull(const HubName& name, const std::function<std::vector<std::string>(const HubListing&)>& choose,
                             const std::function<void(const HubProgress&)>& progress = {});

 private:
  struct Reply;
  struct Remote;
  Reply request(const char* method, const std::string& url, bool with_token, std::uint64_t from, const std::function<bool(const char*, std::size_t)>& sink,
                const std::function<bool(const Reply&)>& on_head);
  Reply ask(const HubName& name, const std::string& path);
  Remote locate(const HubName& name, const std::string& commit, const std::string& file);
  void fetch(const HubName& name, const Remote& remote, const std::filesystem::path& blob, const std::function<void(std::uint64_t, std::uint64_t)>& progress);
  bool fetch_once(const HubName& name, const Remote& remote, const std::filesystem::path& partial, const std::function<void(std::uint64_t, std::uint64_t)>& progress, std::string& why);
  [[noreturn]] void refuse(const HubName& name, const Reply& reply, const std::string& file) const;

  HubOptions options_;
};

// Of a model's files those that r1 reads: configuration, tokenizer, safetensors; the GGUF file where there are no safetensors and just
// one. Throws ConfigError that names what there is.
std::vector<std::string> choose_model_files(const HubListing& listing, const HubName& name);

}  // namespace r1
