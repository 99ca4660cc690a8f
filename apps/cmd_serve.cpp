// r1 serve: a model behind OpenAI's HTTP API and, with --grpc, as a rollout server of training runs.
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "apps/command.h"
#include "apps/runtime.h"
#include "apps/weight_layout.h"
#include "core/error.h"
#include "core/signals.h"
#include "model/weight_store.h"
#include "proto/openai_server.h"
#include "proto/rollout_server.h"

namespace r1 {
namespace {

struct Args {
  OpenAiServerOptions server;
  RolloutServerOptions rollout;
  std::string grpc, model, name, token_env, dtype = "bfloat16", device = "auto";
  int max_calls = 256, max_new_tokens = 4096, max_samples = 128, max_rows = 0;
  double kv_cache_gb = 0, drain_s = 30;
};

std::string token_from(const std::string& variable) {
  if (variable.empty()) return "";
  const char* token = std::getenv(variable.c_str());
  if (token == nullptr || *token == 0) throw ConfigError(message("--token-env ", variable, ": the variable is not set"));
  return token;
}

std::string host_of(const std::string& address) { return address.substr(0, address.rfind(':')); }

// --grpc: a port of --listen's host, or an address of its own.
std::string grpc_address(const Args& a) { return a.grpc.find(':') == std::string::npos ? host_of(a.server.listen) + ":" + a.grpc : a.grpc; }

std::unique_ptr<RolloutServer> rollout_server(const Args& a, const Runtime& run, RolloutEngine& engine, EngineLoop& loop, const ServedModel& model) {
  RolloutServerOptions options = a.rollout;
  options.token = a.server.token;
  options.listen.address = grpc_address(a);
  ServedRollout served;
  served.model = model;
  served.device = run.backend->device();
  if (const auto* base = dynamic_cast<const EngineBase*>(&engine)) served.slots = base->options().max_rows;
  served.layout = weight_layout(run.backend->config(), parse_dtype(a.dtype));
  served.digest_of_engine = served.device == "cpu";  // a GPU sums its memory up in another way
  if (!served.digest_of_engine) {
    served.weight_device = make_weight_device();
    served.places = weight_places(run.backend->config(), parse_dtype(a.dtype));
  }
  return std::make_unique<RolloutServer>(std::move(options), loop, engine, std::move(served));
}

void serve(Args& a, const Globals& globals) {
  install_stop_signals();
  a.server.token = token_from(a.token_env);
  a.server.max_connections = a.max_calls + 64;  // some are for /health and for those that wait
  Runtime run = open_model(a.model, parse_dtype(a.dtype), globals.threads, a.device);
  BackendNeeds needs = device_default();
  needs.engine.max_rows = a.max_rows;
  needs.sends_weights = !a.grpc.empty();
  needs.engine.kv_cache_bytes = static_cast<std::int64_t>(a.kv_cache_gb * (1 << 30));
  const BackendParts parts = run.backend->make(needs, run.tokenizer);

  ServedModel model;
  model.name = a.name.empty() ? run.path.filename().string() : a.name;
  model.tokenizer = run.tokenizer;
  if (!run.tokenizer->chat_template().empty()) model.chat = std::make_shared<const ChatTemplate>(run.tokenizer->chat_template());
  model.chat_options = template_options(*run.tokenizer);
  model.context = run.backend->config().max_position_embeddings;
  model.max_new_tokens = a.max_new_tokens;
  model.max_samples = a.max_samples;

  EngineLoop loop(*parts.engine, a.max_calls);
  const std::unique_ptr<RolloutServer> rollouts = a.grpc.empty() ? nullptr : rollout_server(a, run, *parts.engine, loop, model);
  OpenAiServer server(a.server, loop, model);
  const char* const without = model.chat ? "" : "; no chat template: /v1/completions alone";
  if (!globals.quiet) std::printf("%s on %s%s\n", model.name.c_str(), run.backend->line().c_str(), without);
  std::printf("listening on http://%s:%d/v1\n", host_of(a.server.listen).c_str(), server.port());
  if (rollouts) std::printf("rollouts on grpc://%s:%d\n", host_of(grpc_address(a)).c_str(), rollouts->port());
  std::fflush(stdout);
  while (!stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::chrono::milliseconds limit(static_cast<long>(a.drain_s * 1000));
  const int cut = rollouts ? rollouts->drain(limit) : server.drain(limit);  // both wait for the calls of the one loop
  server.drain(std::chrono::milliseconds(200));
  const EngineLoopCounts n = loop.counts();
  const std::string counts = message(n.finished, " finished, ", n.cancelled, " cancelled, ", n.failed, " failed");
  std::printf("stopped after %s\n", message(n.accepted, " calls: ", counts).c_str());
  if (cut > 0) throw Error(message(cut, " calls were cut off after ", a.drain_s, " s (--drain-seconds)"));
}

}  // namespace

void add_serve(CLI::App& app, const Globals& globals, int&) {
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("serve", "serve a model over OpenAI's HTTP API, and rollouts over gRPC");
  cmd->add_option("--model,-m", args->model, "model directory, GGUF file or hub name")->required();
  cmd->add_option("--listen", args->server.listen, "HOST:PORT (default 127.0.0.1:8000; port 0: any free one)");
  cmd->add_option("--grpc", args->grpc, "also serve rollouts and take weights over gRPC: PORT of --listen's host, or HOST:PORT (docs/services.md)");
  cmd->add_option("--tls-cert", args->rollout.listen.cert, "PEM file: the certificate of --grpc; needed beyond this machine");
  cmd->add_option("--tls-key", args->rollout.listen.key, "PEM file: its key");
  cmd->add_option("--tls-client-ca", args->rollout.listen.client_ca, "PEM file: clients of --grpc must show a certificate of it");
  cmd->add_option("--max-message-mb", args->rollout.max_message_mb, "size of a message of --grpc (default 16)")->check(CLI::Range(8, 1024));
  cmd->add_option("--name", args->name, "the model's name in the API (default: the last part of its path)");
  cmd->add_option("--token-env", args->token_env, "environment variable with the bearer token that clients must send; needed beyond this machine");
  cmd->add_option("--dtype", args->dtype, "bfloat16 (default) or float32");
  cmd->add_option("--device", args->device, "auto (default: the GPU if there is one), cpu or cuda");
  cmd->add_option("--max-calls", args->max_calls, "calls in progress; more are answered 429 (default 256)")->check(CLI::Range(1, 8192));
  cmd->add_option("--max-samples", args->max_samples, "completions of a call (default 128)")->check(CLI::Range(1, 65'536));
  cmd->add_option("--max-new-tokens", args->max_new_tokens, "tokens of a completion (default 4096)")->check(CLI::PositiveNumber);
  cmd->add_option("--max-body-mb", args->server.max_body_mb, "size of a request (default 8)")->check(CLI::Range(1, 1024));
  cmd->add_option("--max-rows", args->max_rows, "samples that decode at once (default: the device's choice)")->check(CLI::Range(1, 65'536));
  cmd->add_option("--kv-cache-gb", args->kv_cache_gb, "default: the device's choice")->check(CLI::Range(0.01, 4096.0));
  cmd->add_option("--drain-seconds", args->drain_s, "what runs at Ctrl-C or SIGTERM may take so long to finish (default 30)")
      ->check(CLI::Range(0.0, 86'400.0));
  cmd->footer("Example: r1 serve -m models/SmolLM2-135M-Instruct --listen 127.0.0.1:8000");
  cmd->callback([args, &globals] { serve(*args, globals); });
}

}  // namespace r1
