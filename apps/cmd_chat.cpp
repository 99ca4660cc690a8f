// r1 chat: talk to a model in the terminal; text between think tags is dimmed.
#include <cstdio>
#include <iostream>

#include <unistd.h>

#include "apps/command.h"
#include "apps/runtime.h"
#include "core/error.h"

namespace r1 {

namespace {

// Prints streamed text, dimming what lies between <think> and </think> on a colour terminal.
class Printer {
 public:
  explicit Printer(bool colour) : colour_(colour) {}
  void print(const std::string& text) {
    pending_ += text;
    for (;;) {
      const std::string tag = inside_ ? "</think>" : "<think>";
      const std::size_t at = pending_.find(tag);
      if (at == std::string::npos) break;
      const std::size_t end = inside_ ? at + tag.size() : at;
      emit(pending_.substr(0, end));
      pending_.erase(0, end);
      inside_ = !inside_;
      if (inside_) { emit(tag); pending_.erase(0, tag.size()); }
    }
    // Hold back what may be the start of a tag.
    const std::size_t open = pending_.rfind('<');
    const std::size_t keep = open != std::string::npos && pending_.size() - open < 8 ? pending_.size() - open : 0;
    emit(pending_.substr(0, pending_.size() - keep));
    pending_.erase(0, pending_.size() - keep);
  }
  void finish() { emit(pending_); pending_.clear(); inside_ = false; std::fputs("\n", stdout); std::fflush(stdout); }

 private:
  void emit(const std::string& text) {
    if (text.empty()) return;
    if (inside_ && colour_) std::fputs("\033[2m", stdout);
    std::fputs(text.c_str(), stdout);
    if (inside_ && colour_) std::fputs("\033[0m", stdout);
    std::fflush(stdout);
  }
  bool colour_, inside_ = false;
  std::string pending_;
};

}  // namespace

void add_chat(CLI::App& app, const Globals& globals, int&) {
  struct Args { std::string model, system, prompt, device = "auto"; float temperature = 0.7f, top_p = 0.95f; int max_new_tokens = 512; std::uint64_t seed = 0; };
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("chat", "talk to a model in the terminal");
  cmd->add_option("--model,-m", args->model, "model directory, GGUF file or hub name")->required();
  cmd->add_option("--system", args->system, "system message");
  cmd->add_option("--prompt,-p", args->prompt, "answer this one message and exit");
  cmd->add_option("--temperature", args->temperature, "0 = greedy (default 0.7)")->check(CLI::Range(0.f, 100.f));
  cmd->add_option("--top-p", args->top_p, "default 0.95")->check(CLI::Range(0.f, 1.f));
  cmd->add_option("--max-new-tokens", args->max_new_tokens, "default 512")->check(CLI::PositiveNumber);
  cmd->add_option("--device", args->device, "auto (default: the GPU if there is one), cpu or cuda");
  cmd->add_option("--seed", args->seed, "default 0");
  cmd->footer("Example: r1 chat --model runs/quickstart/checkpoints/latest -p 'What is 37 + 45?'");
  cmd->callback([args, &globals] {
    Runtime run = open_model(args->model, DType::kBF16, globals.threads, args->device);
    if (run.tokenizer->chat_template().empty())
      throw ConfigError(message(args->model, " has no chat template; r1 generate takes plain prompts"));
    const ChatTemplate chat(run.tokenizer->chat_template());
    const BackendParts parts = run.backend->make(device_default(), run.tokenizer);
    RolloutEngine& engine = *parts.engine;
    std::vector<Message> messages;
    if (!args->system.empty()) messages.push_back({"system", args->system});
    Printer printer(isatty(1) && std::getenv("NO_COLOR") == nullptr);
    const bool interactive = args->prompt.empty();
    if (interactive && !globals.quiet) std::fprintf(stderr, "%s, %lld parameters. Empty line or Ctrl-D ends.\n", run.path.filename().c_str(),
                                                    static_cast<long long>(run.backend->config().num_parameters()));
    for (std::uint64_t turn = 0;; ++turn) {
      std::string text = args->prompt;
      if (interactive) {
        std::fputs(isatty(0) ? "\n> " : "", stdout);
        std::fflush(stdout);
        if (!std::getline(std::cin, text) || text.empty()) break;
      }
      messages.push_back({"user", text});
      RolloutRequest request;
      request.prompt.id = message("turn ", turn + 1);
      request.prompt.text = chat.render(messages, template_options(*run.tokenizer));
      request.prompt.tokens = run.tokenizer->encode(request.prompt.text);
      request.sampling.temperature = args->temperature;
      request.sampling.top_p = args->top_p;
      request.sampling.max_new_tokens = args->max_new_tokens;
      request.key = {args->seed, turn, 0, 0};
      engine.submit(std::move(request));
      std::string answer;
      engine.wait([&](RolloutEvent&& event) {
        if (event.kind == RolloutEvent::Kind::kTokens) printer.print(event.text);
        else answer = event.completion.text;
      }, true);
      printer.finish();
      messages.push_back({"assistant", answer});
      if (!interactive) break;
    }
  });
}

}  // namespace r1
