// r1 watch: a run while it goes on, in the terminal and as a page on this machine.
#include <cstdio>
#include <memory>
#include <optional>

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "apps/command.h"
#include "apps/run_tokenizer.h"
#include "core/error.h"
#include "core/signals.h"
#include "core/terminal.h"
#include "watch/terminal_view.h"
#include "watch/watch_data.h"
#include "watch/watch_server.h"

namespace r1 {

namespace {

struct Args {
  std::vector<std::filesystem::path> runs;
  std::string listen = "127.0.0.1:8100";
  bool open = false, no_page = false, once = false;
};

// Keys as they are pressed, and another screen, until the end of the scope.
class FullScreen {
 public:
  FullScreen() {
    tcgetattr(STDIN_FILENO, &before_);
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    std::fputs("\x1b[?1049h\x1b[?25l", stdout);
  }
  ~FullScreen() {
    std::fputs("\x1b[?25h\x1b[?1049l", stdout);
    std::fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  FullScreen(const FullScreen&) = delete;
  FullScreen& operator=(const FullScreen&) = delete;

 private:
  termios before_{};
};

std::string frame(const RecordedRun& run, watch::ScreenOptions options) {
  std::optional<RecordedRollout> rollout;
  try {
    if (const auto steps = run.rollouts(); !steps.empty()) rollout = run.rollout(steps.back());
  } catch (const Error&) {  // it was removed just now
  }
  return watch::render_screen(report::load_run(run.path()), rollout ? &*rollout : nullptr, options);
}

void watch_terminal(const RecordedRun& run, watch::ScreenOptions options) {
  const FullScreen screen;
  while (!stop_requested()) {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) options.width = size.ws_col, options.height = size.ws_row;
    std::string text = frame(run, options);
    std::string out = "\x1b[H";
    for (const char c : text) out += c == '\n' ? "\x1b[K\r\n" : std::string(1, c);
    if (out.ends_with("\r\n")) out.resize(out.size() - 2);  // the last line must not scroll
    std::fputs((out + "\x1b[J").c_str(), stdout);
    std::fflush(stdout);
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, 1000) <= 0) continue;
    char key = 0;
    if (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q') return;
    if (key == 'n') ++options.sample;
    if (key == 'p' && options.sample > 0) --options.sample;
  }
}

void watch_runs(const Args& args, const Globals& globals) {
  install_stop_signals();
  const watch::WatchData data(args.runs, run_tokenizer);
  Terminal::Options on_screen;
  on_screen.descriptor = STDOUT_FILENO;
  const Terminal terminal(on_screen);
  watch::ScreenOptions options;
  options.width = static_cast<std::size_t>(terminal.width());
  options.colour = terminal.colour();
  options.ascii = terminal.ascii();
  if (args.once) {
    for (const RecordedRun& run : data.runs()) std::fputs(frame(run, options).c_str(), stdout);
    return;
  }
  std::optional<watch::WatchServer> server;
  if (!args.no_page) {
    server.emplace(args.listen, args.open, data);
    options.url = message("http://", args.listen.substr(0, args.listen.rfind(':')), ":", server->port(), "/");
  }
  if (terminal.interactive() && isatty(STDIN_FILENO) && data.runs().size() == 1 && !globals.quiet) return watch_terminal(data.runs().front(), options);
  if (!server) throw ConfigError("the output is no terminal (or there are several runs), and --no-page leaves the page out; --once prints one screen");
  std::printf("watching %zu run(s) on %s   Ctrl-C ends\n", data.runs().size(), options.url.c_str());
  std::fflush(stdout);
  while (!stop_requested()) usleep(50'000);
}

}  // namespace

void add_watch(CLI::App& app, const Globals& globals, int&) {
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("watch", "a run while it goes on: in the terminal, and as a page on this machine; several runs side by side");
  cmd->add_option("run", args->runs, "run folders")->required();
  cmd->add_option("--listen", args->listen, "HOST:PORT of the page (default 127.0.0.1:8100; port 0: any free one)");
  cmd->add_flag("--open", args->open, "let other machines see the page; it has no password");
  cmd->add_flag("--no-page", args->no_page, "the terminal alone");
  cmd->add_flag("--once", args->once, "print one screen and end");
  cmd->footer("Example: r1 watch runs/seed0 runs/seed1\nKeys in the terminal: q quits, n and p show the next and the previous sample. docs/watch.md has those of the page.");
  cmd->callback([args, &globals] { watch_runs(*args, globals); });
}

}  // namespace r1
