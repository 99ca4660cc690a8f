#include "core/log.h"

#include <fstream>
#include <limits>
#include <sstream>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/terminal.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

// A file that stands for the screen.
struct Screen {
  test::TempDir dir;
  int descriptor = open((dir / "screen").c_str(), O_CREAT | O_RDWR, 0600);
  ~Screen() { close(descriptor); }
  std::string text() const { return read_file(dir / "screen"); }
  Terminal::Options options(bool interactive = false) const {
    Terminal::Options options;
    options.descriptor = descriptor;
    options.interactive = interactive;
    options.colour = false;
    options.ascii = true;
    options.width = 40;
    return options;
  }
};

std::vector<nlohmann::json> lines_of(const std::filesystem::path& path) {
  std::vector<nlohmann::json> lines;
  std::istringstream in(read_file(path));
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(nlohmann::json::parse(line));
  }
  return lines;
}

TEST_CASE("an event is one readable line and one JSON line") {
  const Screen screen;
  Terminal terminal(screen.options());
  const LogScope log({&terminal, LogLevel::kInfo, screen.dir / "log.jsonl", LogLevel::kDebug});
  log_info("rollout.done", {{"prompts", 32}, {"rate", 1810.25}, {"ok", true}, {"name", "two words"}, {"file", std::filesystem::path("a/b")}});
  log_warning("disk.low", {{"text", "only a little is left"}, {"bytes", std::uint64_t{18446744073709551615u}}});
  log_debug("detail");
  const std::string text = screen.text();
  CHECK(text.find(" rollout.done  prompts=32  rate=1810  ok=true  name=\"two words\"  file=a/b\n") == 8);
  CHECK(text.find("warning: disk.low  only a little is left  bytes=18446744073709551615\n") != std::string::npos);
  CHECK(text.find("detail") == std::string::npos);
  const auto lines = lines_of(screen.dir / "log.jsonl");
  REQUIRE(lines.size() == 3);
  CHECK(lines[0]["event"] == "rollout.done");
  CHECK(lines[0]["level"] == "info");
  CHECK(lines[0]["prompts"] == 32);
  CHECK(lines[0]["rate"] == 1810.25);
  CHECK(lines[0]["ok"] == true);
  CHECK(lines[0]["time"].get<std::string>().size() == 24);
  CHECK(lines[1]["bytes"] == 18446744073709551615u);
  CHECK(lines[2]["event"] == "detail");
}

TEST_CASE("hostile content stays valid JSON; reserved names are kept apart") {
  const Screen screen;
  const LogScope log({nullptr, LogLevel::kInfo, screen.dir / "log.jsonl", LogLevel::kDebug});
  log_info("x\"\n", {{"time", 1}, {"bad", std::string("a\0\xff\xc3(\"\\\n\x1b", 9)}, {"nan", std::numeric_limits<double>::quiet_NaN()}});
  const auto lines = lines_of(screen.dir / "log.jsonl");
  REQUIRE(lines.size() == 1);
  CHECK(lines[0]["event"] == "x\"\n");
  CHECK(lines[0]["time_"] == 1);
  CHECK(lines[0]["bad"] == std::string("a\0\xef\xbf\xbd\xef\xbf\xbd(\"\\\n\x1b", 13));
  CHECK(lines[0]["nan"].is_null());
}

TEST_CASE("a line cut off by a crash does not swallow the next one") {
  const Screen screen;
  write_file_atomic(screen.dir / "log.jsonl", "{\"event\":\"cut");
  const LogScope log({nullptr, LogLevel::kInfo, screen.dir / "log.jsonl", LogLevel::kDebug});
  log_info("next");
  CHECK(read_file(screen.dir / "log.jsonl").find("cut\n{") != std::string::npos);
}

TEST_CASE("quiet drops information, never warnings") {
  const Screen screen;
  Terminal::Options options = screen.options();
  options.quiet = true;
  Terminal terminal(options);
  const LogScope log({&terminal, LogLevel::kInfo, {}, LogLevel::kDebug});
  log_info("chatter");
  log_error("trouble");
  CHECK(screen.text().find("chatter") == std::string::npos);
  CHECK(screen.text().find("error: trouble") != std::string::npos);
}

TEST_CASE("threads do not mix their lines") {
  const Screen screen;
  const LogScope log({nullptr, LogLevel::kInfo, screen.dir / "log.jsonl", LogLevel::kDebug});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 200; ++i) log_info("tick", {{"thread", t}, {"i", i}});
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(lines_of(screen.dir / "log.jsonl").size() == 800);
}

TEST_CASE("a log that can no longer be written says so once and does not end the run") {
  const Screen screen;
  Terminal terminal(screen.options());
  const LogScope log({&terminal, LogLevel::kError, screen.dir / "log.jsonl", LogLevel::kDebug});
  set_file_fault_hook([](FileOp op, const std::filesystem::path&) { return op == FileOp::kWrite ? ENOSPC : 0; });
  log_info("a");
  log_info("b");
  set_file_fault_hook({});
  const std::string text = screen.text();
  CHECK(text.find("the log ends here: cannot write to") != std::string::npos);
  CHECK(text.find("the log ends here", text.find("the log ends here") + 1) == std::string::npos);
  CHECK_THROWS_AS(start_log({nullptr, LogLevel::kInfo, screen.dir / "no/log.jsonl", LogLevel::kDebug}), IoError);
}

TEST_CASE("the status line is cleared before a line and drawn again below it") {
  const Screen screen;
  {
    Terminal terminal(screen.options(true));
    terminal.set_status("working");
    terminal.set_status("working");  // unchanged: nothing is sent
    terminal.print("a line");
    terminal.set_status(std::string(100, 'x'));
  }
  const std::string clear = "\r\x1b[K";
  CHECK(screen.text() == clear + "working" + clear + "a line\nworking" + clear + std::string(38, 'x') + "~" + clear);
}

TEST_CASE("no terminal: no status line, no colour; NO_COLOR is honoured") {
  const Screen screen;
  Terminal::Options options;
  options.descriptor = screen.descriptor;
  Terminal file(options);
  file.set_status("working");
  file.print(file.paint("plain", "31"));
  CHECK(screen.text() == "plain\n");
  options.interactive = true;
  setenv("NO_COLOR", "1", 1);
  CHECK(Terminal(options).paint("x", "31") == "x");
  unsetenv("NO_COLOR");
  CHECK(Terminal(options).paint("x", "31") == "\x1b[31mx\x1b[0m");
}

}  // namespace
}  // namespace r1
