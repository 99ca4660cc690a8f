// The OpenAI-compatible HTTP service of one engine: /v1/models, /v1/completions, /v1/chat/completions, /tokenize, /detokenize,
// /metrics, /health. No type of the HTTP library in this header.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "proto/engine_loop.h"
#include "proto/openai_request.h"

namespace r1 {

struct OpenAiServerOptions {
  std::string listen = "127.0.0.1:8000";  // host:port; port 0 = any free one
  std::string token;                      // every path but /health asks for it as a bearer token; "" = none, on loopback only
  int max_body_mb = 8;
  int max_connections = 320;              // a thread each; more are answered 503
  std::chrono::milliseconds read_limit{30'000};  // for reading a request, head and body
};

// Serves from construction to destruction. A client that goes away cancels its call, streaming or not.
class OpenAiServer {
 public:
  // `loop` outlives it. Throws ConfigError: an address that cannot be listened on, an open address without a token.
  OpenAiServer(OpenAiServerOptions options, EngineLoop& loop, ServedModel model);
  ~OpenAiServer();
  OpenAiServer(const OpenAiServer&) = delete;
  OpenAiServer& operator=(const OpenAiServer&) = delete;

  int port() const;
  // /health turns to 503 and new calls are refused with 503; those that run may finish until `limit`, then they are ended.
  // Returns how many did not finish.
  int drain(std::chrono::milliseconds limit);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
