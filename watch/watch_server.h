// The local web page of `r1 watch`: one page, its style and script, and what they ask of WatchData. Nothing else is served, and the page
// may ask nobody else (Content-Security-Policy). No type of the HTTP library in this header.
#pragma once

#include <memory>
#include <string>

#include "watch/watch_data.h"

namespace r1::watch {

// Serves from construction to destruction.
class WatchServer {
 public:
  // `listen`: host:port; port 0 = any free one. Only this machine's own addresses are taken unless `open`: the page has no password.
  // `data` outlives it. Throws ConfigError.
  WatchServer(const std::string& listen, bool open, const WatchData& data);
  ~WatchServer();
  WatchServer(const WatchServer&) = delete;
  WatchServer& operator=(const WatchServer&) = delete;
  int port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1::watch
