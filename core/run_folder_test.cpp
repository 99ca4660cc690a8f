#include "core/run_folder.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/terminal.h"
#include "core/version.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

ResolvedConfig config(const Strings& overrides = {}) {
  const Config parsed = Config::parse("kind: grpo\nnote: \"12\"\noutput: {dir: runs/zero}\nrl: {steps: 10}\n", "r.yaml", overrides);
  ConfigReader root(parsed);
  root.get<std::string>("kind", "");
  root.get<std::string>("note", "");
  root.section("output").get<std::string>("dir", "");
  ConfigReader rl = root.section("rl");
  rl.get<int>("steps", 1);
  rl.get<double>("learning_rate", 1e-6);
  rl.find<double>("kl");
  return root.resolved();
}

const RunEnvironment kEnvironment{"r1 train r.yaml", "test cpu", "cpu", "2.11.0", 2, 7};

std::string error_of(const fs::path& dir, const ResolvedConfig& resolved, const RunFolder::Options& options = {}) {
  try {
    const RunFolder folder(dir, resolved, kEnvironment, options);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "no error";
}

TEST_CASE("a new run, then a resumed one, then a finished one") {
  const test::TempDir dir;
  const fs::path run = dir / "runs/zero";
  {
    RunFolder folder(run, config(), kEnvironment);
    CHECK(folder.state() == RunFolder::State::kNew);
    CHECK(folder.samples(10) == run / "samples/step_000010.jsonl");
    for (const char* name : {"config.yaml", "environment.json", "samples", "journal", "checkpoints"}) CHECK(fs::exists(run / name));
  }
  CHECK(Config::load(run / "config.yaml").peek("rl.learning_rate") == "1e-06");
  {
    RunFolder folder(run, config(), kEnvironment);
    CHECK(folder.state() == RunFolder::State::kUnfinished);
    folder.mark_finished();
  }
  CHECK(RunFolder(run, config(), kEnvironment).state() == RunFolder::State::kFinished);
  const auto environment = nlohmann::json::parse(read_file(run / "environment.json"));
  REQUIRE(environment["starts"].size() == 3);
  const auto& start = environment["starts"][0];
  CHECK(start["r1"] == version());
  CHECK(start["commit"] == git_commit());
  CHECK(start["cpu"] == "test cpu");
  CHECK(start["command_line"] == "r1 train r.yaml");
  CHECK(start["seed"] == 7);
  CHECK(start["cores"].get<int>() >= 1);
  CHECK(start["memory_bytes"].get<std::int64_t>() > (1 << 20));
  CHECK(start["time"].get<std::string>().size() == 20);
}

TEST_CASE("another configuration is refused and says what differs") {
  const test::TempDir dir;
  { RunFolder folder(dir / "run", config(), kEnvironment); }
  CHECK(error_of(dir / "run", config({"rl.steps=20", "rl.kl=0.1"})) ==
        (dir / "run").string() + " holds a run of another configuration:\n  rl.steps: 10 -> 20\n  rl.kl: (not set) -> 0.1\n"
        "choose another output.dir, restore these values to resume, or add --overwrite to delete that run");
  CHECK(error_of(dir / "run", config({"output.dir=elsewhere"})) == "no error");
  CHECK(Config::load(dir / "run/config.yaml").peek("output.dir") == "elsewhere");
  CHECK(error_of(dir / "run", config({"rl.steps=20"}), {{"output", "rl.steps"}, false}) == "no error");
  CHECK(Config::load(dir / "run/config.yaml").peek("rl.steps") == "20");
}

TEST_CASE("overwrite deletes the old run") {
  const test::TempDir dir;
  {
    RunFolder folder(dir / "run", config(), kEnvironment);
    write_file_atomic(folder.metrics(), "{}\n");
    fs::create_directories(folder.path() / "checkpoints/step_000005");
    for (const char* part : {"eval", "audit", "cache"}) {
      fs::create_directories(folder.path() / part);
      write_file_atomic(folder.path() / part / "x", "x");
    }
    folder.mark_finished();
  }
  const RunFolder folder(dir / "run", config({"rl.steps=20"}), kEnvironment, {{}, true});
  CHECK_FALSE(fs::exists(folder.path() / "eval"));
  CHECK(folder.state() == RunFolder::State::kNew);
  CHECK_FALSE(fs::exists(folder.metrics()));
  CHECK(fs::is_empty(folder.path() / "checkpoints"));
}

TEST_CASE("a folder of something else is left alone; leftovers of a killed start are not in the way") {
  const test::TempDir dir;
  fs::create_directories(dir / "home");
  write_file_atomic(dir / "home/thesis.tex", "x");
  CHECK(error_of(dir / "home", config()) == (dir / "home").string() + " is no run folder but holds 'thesis.tex'; choose an empty or new output.dir");
  CHECK(read_file(dir / "home/thesis.tex") == "x");
  for (int at = 0;; ++at) {
    const fs::path run = dir / "killed" / std::to_string(at);
    const pid_t child = fork();
    if (child == 0) {
      set_file_fault_hook([n = at](FileOp op, const fs::path&) mutable {
        if (n-- == 0) _exit(9);
        return op == FileOp::kSync ? kSkipSync : 0;
      });
      try {
        const RunFolder folder(run, config(), kEnvironment);
      } catch (...) {
        _exit(1);
      }
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(error_of(run, config()) == "no error");
    if (WEXITSTATUS(status) == 0) break;
    CHECK(WEXITSTATUS(status) == 9);
  }
}

TEST_CASE("two runs cannot use one folder; the lock ends with its owner") {
  const test::TempDir dir;
  {
    const RunFolder folder(dir / "run", config(), kEnvironment);
    const std::string error = error_of(dir / "run", config());
    CHECK(error.find("another r1 (process " + std::to_string(getpid()) + " on ") == 0);
    CHECK(error.find(") is using " + (dir / "run").string() + "; wait until it ends or choose another output.dir") != std::string::npos);
  }
  CHECK(error_of(dir / "run", config()) == "no error");
}

TEST_CASE("step names") {
  CHECK(step_name(50) == "step_000050");
  CHECK(step_name(12345678) == "step_12345678");
  CHECK(step_of_name("step_000050") == 50);
  CHECK(step_of_name("step_12345678") == 12345678);
  for (const char* bad : {"step_", "step_5x", "step_-5", "Step_5", "latest", "step_000050.tmp-1-2"}) CHECK(step_of_name(bad) == std::nullopt);
}

}  // namespace
}  // namespace r1
