#include "proto/openai_server.h"

#include <optional>
#include <random>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "proto/api_error.h"
#include "proto/bearer.h"
#include "proto/http_connection.h"
#include "proto/loopback.h"
#include "proto/openai_reply.h"
#include "proto/serve_metrics.h"

namespace r1 {
namespace {

using Json = nlohmann::json;
using httplib::Request;
using httplib::Response;
using Handled = httplib::Server::HandlerResponse;

constexpr const char* kJson = "application/json";
constexpr std::chrono::milliseconds kLook{100};  // how often a waiting call looks whether its client is there

void answer(Response& response, const ApiError& e) {
  response.status = e.status;
  if (e.status == 429 || e.status == 503) response.set_header("Retry-After", "1");
  if (e.status == 401) response.set_header("WWW-Authenticate", "Bearer");
  response.set_content(to_json(e), kJson);
}

std::int64_t seconds_since_1970() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// One call while it runs.
struct Running {
  Running(GenerateCall c, const ServedModel& model, std::string id, std::int64_t created)
      : call(std::move(c)), reply(call, model, std::move(id), created) {}
  GenerateCall call;
  OpenAiReply reply;
  std::unique_ptr<EngineLoop::Call> events;
  bool opened = false;
};

ApiError failure_of(const EngineLoop::Event& e) {
  return e.refused ? ApiError(400, e.failure) : ApiError(500, e.failure, "server_error");
}

}  // namespace

struct OpenAiServer::Impl {
  Impl(OpenAiServerOptions o, EngineLoop& l, ServedModel m)
      : options(std::move(o)), loop(l), model(std::move(m)),
        http({options.max_connections, options.read_limit, std::chrono::seconds(10), std::chrono::seconds(15)}) {}

  std::optional<ApiError> refusal(const Request& request) const;
  void set_routes();
  void generate(const Request& request, Response& response, bool chat);
  void wait_for(Running& running, Response& response);

  OpenAiServerOptions options;
  EngineLoop& loop;
  ServedModel model;
  BoundedHttpServer http;
  const std::int64_t started = seconds_since_1970();
  const std::uint64_t start_seed = (std::uint64_t{std::random_device{}()} << 32) | std::random_device{}();
  std::atomic<std::uint64_t> calls{0};
  std::atomic<bool> cut{false};  // the drain's time is over
  int port = 0;
  std::atomic<bool> ended{false};  // nothing is accepted any more
  std::thread thread;
};

// Before the body is read.
std::optional<ApiError> OpenAiServer::Impl::refusal(const Request& request) const {
  if (!options.token.empty() && request.path != "/health") {
    const std::string given = request.get_header_value("Authorization");
    if (!bearer_is(given, options.token))
      return ApiError(401, given.empty() ? "no API key was sent; send it as a bearer token" : "the API key is wrong", "invalid_request_error", "",
                      "invalid_api_key");
  }
  if (request.method != "POST") return std::nullopt;
  if (request.has_header("Content-Encoding")) return ApiError(415, "compressed bodies are not read; send the JSON as it is");
  const std::string length = request.get_header_value("Content-Length");
  if (request.has_header("Transfer-Encoding") || length.empty() || length.size() > 12 || length.find_first_not_of("0123456789") != std::string::npos)
    return ApiError(411, "the body needs a Content-Length");
  if (std::stoull(length) > static_cast<std::uint64_t>(options.max_body_mb) << 20)
    return ApiError(413, message("the body has ", length, " bytes, the limit is ", options.max_body_mb, " MiB (--max-body-mb)"));
  return std::nullopt;
}

void OpenAiServer::Impl::set_routes() {
  http.set_pre_routing_handler([this](const Request& request, Response& response) {
    HttpConnection& connection = HttpConnection::current();
    connection.head_done();
    const std::optional<ApiError> no = refusal(request);
    if (!no) return Handled::Unhandled;
    connection.close_after_reply();
    response.set_header("Connection", "close");
    answer(response, *no);
    return Handled::Handled;
  });
  http.set_payload_max_length(static_cast<std::size_t>(options.max_body_mb) << 20);
  http.set_exception_handler([](const Request&, Response& response, std::exception_ptr e) {
    try {
      std::rethrow_exception(e);
    } catch (const ApiError& error) {
      answer(response, error);
    } catch (const std::exception& error) {
      answer(response, ApiError(500, error.what(), "server_error"));
    }
  });
  http.set_error_handler(httplib::Server::HandlerWithResponse([](const Request& request, Response& response) {
    const bool unknown = response.status == 404;
    const std::string text = unknown ? message("there is no ", request.method, " ", request.path.substr(0, 100)) : message("HTTP ", response.status);
    if (!response.body.empty()) return Handled::Handled;
    answer(response, ApiError(response.status, text));
    if (!unknown) HttpConnection::current().close_after_reply();  // the library could not read it: where the next one begins is not known
    return Handled::Handled;
  }));

  http.Get("/health", [this](const Request&, Response& response) {
    if (loop.closed()) return answer(response, ApiError(503, "shutting down", "server_error", "", "shutting_down"));
    response.set_content("{\"status\":\"ok\"}", kJson);
  });
  http.Get("/metrics", [this](const Request&, Response& response) {
    response.set_content(prometheus_text(loop.counts(), loop.engine_stats(), loop.weight_version()), "text/plain; version=0.0.4");
  });
  http.Get("/v1/models", [this](const Request&, Response& response) {
    const Json one = {{"id", model.name}, {"object", "model"}, {"created", started}, {"owned_by", "r1"}, {"max_model_len", model.context}};
    response.set_content(Json{{"object", "list"}, {"data", Json::array({one})}}.dump(-1, ' ', false, Json::error_handler_t::replace), kJson);
  });
  http.Post("/tokenize", [this](const Request& request, Response& response) {
    const std::vector<TokenId> tokens = parse_tokenize(request.body, model);
    response.set_content(Json{{"count", tokens.size()}, {"max_model_len", model.context}, {"tokens", tokens}}.dump(), kJson);
  });
  http.Post("/detokenize", [this](const Request& request, Response& response) {
    response.set_content(Json{{"prompt", parse_detokenize(request.body, model)}}.dump(-1, ' ', false, Json::error_handler_t::replace), kJson);
  });
  http.Post("/v1/completions", [this](const Request& request, Response& response) { generate(request, response, false); });
  http.Post("/v1/chat/completions", [this](const Request& request, Response& response) { generate(request, response, true); });
}

void OpenAiServer::Impl::generate(const Request& request, Response& response, bool chat) {
  const std::uint64_t number = calls++;
  const std::uint64_t fresh = mix64(start_seed + number);
  const std::string id = message(chat ? "chatcmpl-" : "cmpl-", std::hex, fresh);
  auto running = std::make_shared<Running>(chat ? parse_chat(request.body, model, fresh) : parse_completion(request.body, model, fresh), model, id,
                                           seconds_since_1970());
  running->events = loop.submit(running->call.requests, running->call.stream);
  if (!running->events) {
    if (loop.closed()) throw ApiError(503, "the server is shutting down", "server_error", "", "shutting_down");
    throw ApiError(429, message(loop.max_calls(), " calls are running, the limit (--max-calls); try again"), "rate_limit_error", "",
                   "rate_limit_exceeded");
  }
  if (!running->call.stream) return wait_for(*running, response);
  // A refusal still gets its HTTP status: the stream begins with the first event.
  std::optional<EngineLoop::Event> first;
  while (!(first = running->events->next(kLook)))
    if (cut || !HttpConnection::current().alive()) return answer(response, ApiError(503, "the call was cancelled", "server_error"));
  if (!first->failure.empty()) throw failure_of(*first);
  response.set_header("Cache-Control", "no-cache");
  response.set_chunked_content_provider(
      "text/event-stream",
      [this, running, first = std::make_shared<std::optional<EngineLoop::Event>>(std::move(first))](std::size_t, httplib::DataSink& sink) {
        const auto send = [&](const std::string& data) {
          const std::string line = "data: " + data + "\n\n";
          return sink.write(line.data(), line.size());
        };
        Running& r = *running;
        if (!std::exchange(r.opened, true) && r.call.chat)
          for (std::size_t i = 0; i < r.call.requests.size(); ++i)
            for (int s = 0; s < r.call.samples; ++s)
              if (!send(r.reply.opening(i, s))) return false;
        std::optional<EngineLoop::Event> event = std::exchange(*first, std::nullopt);
        if (!event) event = r.events->next(kLook);
        if (cut || (event && !event->failure.empty())) {
          const ApiError e = cut ? ApiError(503, "the server is shutting down", "server_error", "", "shutting_down") : failure_of(*event);
          send(to_json(e));
          return false;  // torn, so that no client takes it for the end
        }
        if (!event) return HttpConnection::current().alive();
        RolloutEvent& e = event->event;
        if (e.kind == RolloutEvent::Kind::kTokens) return send(r.reply.tokens(event->request, e.sample, e.tokens, e.logprobs, e.text));
        if (!send(r.reply.finished(event->request, e.sample, e.completion))) return false;
        if (r.events->unfinished() > 0) return true;
        if (r.call.include_usage && !send(r.reply.usage())) return false;
        send("[DONE]");
        sink.done();
        return true;
      },
      [running](bool) { running->events.reset(); });
}

void OpenAiServer::Impl::wait_for(Running& r, Response& response) {
  while (r.events->unfinished() > 0) {
    std::optional<EngineLoop::Event> event = r.events->next(kLook);
    if (!event) {
      if (cut) throw ApiError(503, "the server is shutting down", "server_error", "", "shutting_down");
      if (!HttpConnection::current().alive()) return;  // nobody reads an answer; r cancels the call
      continue;
    }
    if (!event->failure.empty()) throw failure_of(*event);
    r.reply.add(event->request, event->event.sample, std::move(event->event.completion));
  }
  response.set_content(r.reply.whole(), kJson);
}

OpenAiServer::OpenAiServer(OpenAiServerOptions options, EngineLoop& loop, ServedModel model) {
  const std::size_t colon = options.listen.rfind(':');
  const std::string host = options.listen.substr(0, colon);
  const std::string digits = colon == std::string::npos ? "" : options.listen.substr(colon + 1);
  if (host.empty() || digits.empty() || digits.size() > 5 || digits.find_first_not_of("0123456789") != std::string::npos || std::stoi(digits) > 65535)
    throw ConfigError(message("--listen ", options.listen, ": write HOST:PORT"));
  if (options.token.empty() && !is_loopback(host))
    throw ConfigError(message("--listen ", options.listen, " can be reached from other machines; give --token-env, or listen on 127.0.0.1"));
  impl_ = std::make_unique<Impl>(options, loop, std::move(model));
  impl_->set_routes();
  const std::string bare = host.starts_with('[') && host.ends_with(']') ? host.substr(1, host.size() - 2) : host;
  const int port = std::stoi(digits);
  impl_->port = port == 0 ? impl_->http.bind_to_any_port(bare) : impl_->http.bind_to_port(bare, port) ? port : -1;
  if (impl_->port <= 0) throw ConfigError(message("cannot listen on ", options.listen, "; is the port in use, or the address of another machine?"));
  impl_->http.widen_backlog();
  impl_->thread = std::thread([impl = impl_.get()] {
    impl->http.listen_after_bind();
    impl->ended = true;
  });
}

OpenAiServer::~OpenAiServer() { drain(std::chrono::milliseconds(0)); }

int OpenAiServer::port() const { return impl_->port; }

int OpenAiServer::drain(std::chrono::milliseconds limit) {
  Impl& s = *impl_;
  if (!s.thread.joinable()) return 0;
  s.loop.close();
  const auto end = std::chrono::steady_clock::now() + limit;
  while (s.loop.counts().active > 0 && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const int left = s.loop.counts().active;
  s.cut = true;
  s.http.stop_connections();
  while (!s.http.is_running() && !s.ended) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // destroyed as soon as it was made
  s.http.stop();
  s.thread.join();
  return left;
}

}  // namespace r1
