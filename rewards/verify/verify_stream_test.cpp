#include "rewards/verify/verify_stream.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "core/error.h"
#include "core/signals.h"

namespace r1 {
namespace {

Verifier::Reply echo(std::string_view line, std::int64_t number) {
  return {std::to_string(number) + ":" + std::string(line), line == "bad"};
}

// A stream that runs in a thread, with pipes at both ends.
struct Running {
  int in[2], out[2];
  VerifyStreamResult result;
  std::thread thread;
  Running(const std::function<Verifier::Reply(std::string_view, std::int64_t)>& reply, VerifyStreamOptions o) {
    REQUIRE(pipe2(in, O_CLOEXEC) == 0);
    REQUIRE(pipe2(out, O_CLOEXEC) == 0);
    o.in = in[0];
    o.out = out[1];
    thread = std::thread([this, reply, o] {
      result = verify_stream(reply, o);
      close(out[1]);
    });
  }
  ~Running() {
    end_input();
    if (thread.joinable()) thread.join();
    close(in[0]);
    close(out[0]);
  }
  void send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = write(in[1], text.data(), text.size());
      REQUIRE(n > 0);
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void end_input() {
    if (in[1] >= 0) close(in[1]);
    in[1] = -1;
  }
  std::string line() {
    std::string text;
    for (char c; read(out[0], &c, 1) == 1 && c != '\n';) text += c;
    return text;
  }
  std::string rest() {
    std::string text;
    char bytes[4096];
    for (ssize_t n; (n = read(out[0], bytes, sizeof bytes)) > 0;) text.append(bytes, static_cast<std::size_t>(n));
    thread.join();
    return text;
  }
};

TEST_CASE("verify stream: a reply comes before the next line is sent") {
  for (const std::size_t batch : {1, 32}) {
    VerifyStreamOptions o;
    o.threads = 2;
    o.batch_lines = batch;
    Running s(echo, o);
    for (int i = 1; i <= 50; ++i) {
      s.send("x\n");
      REQUIRE(s.line() == std::to_string(i) + ":x");
    }
  }
}

TEST_CASE("verify stream: order holds whatever each line takes; every line has one reply") {
  VerifyStreamOptions o;
  o.threads = 4;
  o.batch_lines = 3;
  Running s(
      [](std::string_view line, std::int64_t number) {
        std::this_thread::sleep_for(std::chrono::microseconds(number * 7919 % 400));
        return echo(line, number);
      },
      o);
  std::thread sender([&] {
    for (int i = 1; i <= 2000; ++i) s.send(i % 100 == 0 ? "\n" : i % 77 == 0 ? "bad\n" : "line\n");
    s.send("the last, without a break");
    s.end_input();
  });
  std::string expected;
  for (int i = 1; i <= 2000; ++i) expected += std::to_string(i) + (i % 100 == 0 ? ":\n" : i % 77 == 0 ? ":bad\n" : ":line\n");
  const std::string got = s.rest();
  sender.join();
  CHECK(got == expected + "2001:the last, without a break\n");
  CHECK(s.result.lines == 2001);
  CHECK(s.result.errors == 25);  // 77, 154, ... less 1 that is a multiple of 100
  CHECK(s.result.first_error == "77:bad");
  CHECK_FALSE(s.result.reader_gone);
}

TEST_CASE("verify stream: a line that is too long is an error, and the next one is read") {
  VerifyStreamOptions o;
  o.max_line_bytes = 1000;
  Running s(echo, o);
  s.send(std::string(1000, 'a') + "\n");
  CHECK(s.line().size() == 1002);
  std::thread sender([&] { s.send(std::string(3 << 20, 'b') + "\nx\n" + std::string(1001, 'c')); s.end_input(); });
  const std::string got = s.rest();
  sender.join();
  CHECK(got.find("{\"line\":2,\"error\":\"the line is longer than 1000 bytes\"}\n3:x\n{\"line\":4,") == 0);
  CHECK(s.result.errors == 2);
}

TEST_CASE("verify stream: what throws is an error reply") {
  Running s([](std::string_view, std::int64_t) -> Verifier::Reply { throw Error("broken"); }, {});
  s.send("x\n");
  CHECK(s.line() == "{\"line\":1,\"error\":\"broken\"}");
}

TEST_CASE("verify stream: at most a window of lines is read ahead of a slow check") {
  std::atomic<bool> go = false;
  std::atomic<int> begun = 0;
  VerifyStreamOptions o;
  o.threads = 2;
  Running s([&](std::string_view line, std::int64_t number) {
        ++begun;
        while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return echo(line, number);
      }, o);
  std::string many;
  for (int i = 0; i < 20000; ++i) many += "x\n";
  std::thread sender([&] { s.send(many); s.end_input(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(begun <= 2);
  go = true;
  const std::string got = s.rest();
  sender.join();
  CHECK(s.result.lines == 20000);
}

TEST_CASE("verify stream: it ends when nobody reads, also while no input comes, and at a stop signal") {
  std::signal(SIGPIPE, SIG_IGN);
  SUBCASE("no reader") {
    Running s(echo, {});
    s.send("x\n");
    CHECK(s.line() == "1:x");
    close(s.out[0]);
    s.thread.join();  // the input stays open
    CHECK(s.result.reader_gone);
    s.out[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
  }
  SUBCASE("stop") {
    Running s(echo, {});
    s.send("x\n");
    CHECK(s.line() == "1:x");
    request_stop();
    s.thread.join();
    CHECK(s.result.stopped);
    CHECK(s.result.lines == 1);
    reset_stop_for_tests();
  }
}

}  // namespace
}  // namespace r1
