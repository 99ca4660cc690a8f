// Uploads of a model folder to the Hugging Face hub, or a mirror that speaks its API: repository, upload modes (`preupload`), large files by
// git LFS (basic and multipart transfers, stored by SHA-256 and so never sent twice), then one commit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hub/hub_client.h"

namespace r1 {

struct PushFile {
  std::string path;            // in the repository, with '/'
  std::filesystem::path file;  // here
};
struct PushOptions {
  bool make_private = false;   // where the repository is made now
  std::string revision = "main";
  std::string message = "Upload model";
};
struct PushResult {
  std::string commit, url;     // as the hub says; may be empty
  std::size_t files = 0, sent = 0;         // in the commit; large ones among them that the hub did not have yet
  std::uint64_t bytes = 0, sent_bytes = 0;
};

// Nothing is visible before the commit, which is whole or not there; given again after a failure, large files that have arrived are not sent
// again. Throws ConfigError: no token, no right, no such revision, HF_HUB_OFFLINE; IoError: no network, a refused file; Interrupted after a stop
// signal.
PushResult push_to_hub(HubOptions options, const std::string& id, const std::vector<PushFile>& files, const PushOptions& push,
                       const std::function<void(const HubProgress&)>& progress = {});

}  // namespace r1
