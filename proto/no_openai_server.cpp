// Built in place of openai_server.cpp where no HTTP library is found.
#include "core/error.h"
#include "proto/openai_server.h"

namespace r1 {

struct OpenAiServer::Impl {};
OpenAiServer::OpenAiServer(OpenAiServerOptions, EngineLoop&, ServedModel) {
  throw ConfigError("this program was built without an HTTP server; install libcpp-httplib-dev and libssl-dev and configure again");
}
OpenAiServer::~OpenAiServer() = default;
int OpenAiServer::port() const { return 0; }
int OpenAiServer::drain(std::chrono::milliseconds) { return 0; }

}  // namespace r1
