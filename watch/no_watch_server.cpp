// watch_server.h where cpp-httplib is missing.
#include "core/error.h"
#include "watch/watch_server.h"

namespace r1::watch {

struct WatchServer::Impl {};
WatchServer::WatchServer(const std::string&, bool, const WatchData&) {
  throw ConfigError("this r1 was built without cpp-httplib (libcpp-httplib-dev): use r1 watch --no-page");
}
WatchServer::~WatchServer() = default;
int WatchServer::port() const { return 0; }

}  // namespace r1::watch
