#include "core/progress.h"

#include <cmath>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/signals.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

TEST_CASE("words of a command that can be copied into a shell") {
  for (const char* plain : {"runs/a-1_b.c", "/x/\xc3\xbc\xe6\x95\xb0", "a=b", "user@host:1,2"}) CHECK(shell_word(plain) == plain);
  CHECK(shell_word("my runs/a") == "'my runs/a'");
  CHECK(shell_word("it's") == "'it'\\''s'");
  CHECK(shell_word("") == "''");
  for (const char* other : {"a$b", "~/x", "a*", "a;b", "=ls", "a\nb", "(a)", "a\\b"}) CHECK(shell_word(other) == "'" + std::string(other) + "'");
}

TEST_CASE("numbers for people") {
  CHECK(human_count(950) == "950");
  CHECK(human_count(12345) == "12.3k");
  CHECK(human_count(999600) == "1.00M");
  CHECK(human_count(134515008) == "135M");
  CHECK(human_count(-1.5e9) == "-1.50B");
  CHECK(with_commas(0) == "0");
  CHECK(with_commas(-1234567) == "-1,234,567");
  CHECK(with_commas(123) == "123");
  CHECK(with_commas(-123) == "-123");
  CHECK(human_bytes(512) == "512 B");
  CHECK(human_bytes(1536) == "1.5 KiB");
  CHECK(human_bytes(std::uint64_t{270} << 20) == "270 MiB");
  CHECK(human_bytes((std::uint64_t{1} << 20) - 1) == "1.0 MiB");
  CHECK(human_duration(0.012) == "12 ms");
  CHECK(human_duration(0.84) == "0.8 s");
  CHECK(human_duration(59.6) == "1 min 00 s");
  CHECK(human_duration(192) == "3 min 12 s");
  CHECK(human_duration(7500) == "2 h 05 min");
  CHECK(human_duration(273600) == "3 d 04 h");
  CHECK(human_duration(NAN) == "?");
  CHECK(human_number(0.01234567) == "0.01235");
  CHECK(human_number(1.5e-7) == "1.5e-07");
  CHECK(human_number(NAN) == "nan");
}

TEST_CASE("widths count characters; cuts never split one or leave a colour on") {
  CHECK(display_width("aé漢\x1b[31mx\x1b[0m") == 4);
  CHECK(cut_to_width("héllo wörld", 6) == "héllo…");
  CHECK(cut_to_width("hello", 5) == "hello");
  CHECK(cut_to_width("\x1b[31mhello world\x1b[0m", 4, true) == "\x1b[31mhel\x1b[0m~");
  CHECK(cut_to_width("abc", 0).empty());
}

TEST_CASE("tables align numbers right and text left") {
  Table table({"name", "tok/s", "note"});
  table.add_row({"alpha", "1,810", "first"});
  table.add_row({"β", "90"});
  CHECK(table.str() == "name   tok/s  note\nalpha  1,810  first\nβ         90\n");
}

TEST_CASE("bars and the time left") {
  CHECK(progress_bar(0.5, 4, true) == "##..");
  CHECK(progress_bar(-1, 3, true) == "...");
  CHECK(progress_bar(7, 3, true) == "###");
  CHECK(progress_bar(0.999, 10, true) == "#########.");
  CHECK(progress_bar(0.7, 10, true) == "#######...");
  EtaEstimator eta;
  CHECK(std::isnan(eta.seconds_left(10)));
  for (int i = 0; i < 50; ++i) eta.add(2.0);
  CHECK(eta.seconds_left(10) == doctest::Approx(20.0));
  for (int i = 0; i < 50; ++i) eta.add(1.0);
  CHECK(eta.seconds_left(10) == doctest::Approx(10.0).epsilon(0.01));
}

TEST_CASE("the status line shows steps, time left and the rollout in progress") {
  const test::TempDir dir;
  const int descriptor = open((dir / "screen").c_str(), O_CREAT | O_RDWR, 0600);
  Terminal::Options options;
  options.descriptor = descriptor;
  options.interactive = true;
  options.colour = false;
  options.ascii = true;
  options.width = 100;
  Progress::Clock::time_point now{};
  {
    Terminal terminal(options);
    Progress progress(terminal, {200, 10, [&] { return now; }});
    now += std::chrono::seconds(10);
    progress.step_done(11, "step 11 reward 0.5");
    CHECK(progress.seconds_left() == doctest::Approx(1890));
    progress.work("rollout", 0, 256, "");
    now += std::chrono::milliseconds(10);
    progress.work("rollout", 1, 256, "too soon to draw");
    now += std::chrono::milliseconds(200);
    progress.work("rollout", 128, 256, "1,810 tok/s");
  }
  const std::string text = read_file(dir / "screen");
  CHECK(text.find("step 10/200 #...................") != std::string::npos);
  CHECK(text.find("step 11 reward 0.5\n") != std::string::npos);
  CHECK(text.find("step 11/200 #................... 31 min 30 s left") != std::string::npos);
  CHECK(text.find("too soon") == std::string::npos);
  CHECK(text.find("| rollout ####.... 128/256 1,810 tok/s") != std::string::npos);
  CHECK(text.substr(text.size() - 4) == "\r\x1b[K");
  close(descriptor);
}

TEST_CASE("without a terminal only the step lines are printed") {
  const test::TempDir dir;
  const int descriptor = open((dir / "screen").c_str(), O_CREAT | O_RDWR, 0600);
  Terminal::Options options;
  options.descriptor = descriptor;
  {
    Terminal terminal(options);
    Progress progress(terminal, {5, 0, Progress::Clock::now});
    progress.work("rollout", 1, 2, "x");
    progress.step_done(1, "step 1");
  }
  CHECK(read_file(dir / "screen") == "step 1\n");
  close(descriptor);
}

// Runs `body` in a child process; its exit code, or -signal.
template <class F>
int in_child(F&& body) {
  const pid_t child = fork();
  if (child == 0) {
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, 2);
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST_CASE("the first signal sets the flag, the second ends the process") {
  CHECK(in_child([] {
    install_stop_signals();
    if (stop_requested()) _exit(1);
    throw_if_stopped();
    raise(SIGTERM);
    if (!stop_requested() || stop_signal() != SIGTERM) _exit(2);
    try {
      throw_if_stopped();
      _exit(3);
    } catch (const Interrupted&) {
    }
    _exit(7);
  }) == 7);
  for (const int second : {SIGINT, SIGTERM}) {
    CHECK(in_child([second] {
      install_stop_signals();
      raise(SIGINT);
      raise(second);
      _exit(7);
    }) == 130);
  }
  CHECK(in_child([] {
    install_stop_signals();
    request_stop();
    if (!stop_requested()) _exit(1);
    int ends[2];
    if (pipe(ends) != 0) _exit(2);
    close(ends[0]);
    _exit(write(ends[1], "x", 1) == -1 && errno == EPIPE ? 7 : 3);  // and not killed by SIGPIPE
  }) == 7);
}

}  // namespace
}  // namespace r1
