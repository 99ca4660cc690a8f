// The folder of one run: layout, one process at a time, new or resumed, newest complete checkpoint.
//   config.yaml (resolved)  environment.json  log.jsonl  metrics.jsonl  tensorboard/  samples/step_000010.jsonl
//   journal/  checkpoints/step_000050/  checkpoints/latest -> newest complete  finished (only at the end)
//   eval/  audit/  rollouts/  cache/: what kinds of training add
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/files.h"

namespace r1 {

// What environment.json records of a start, beside time, host, kernel and commit, which are asked here.
struct RunEnvironment {
  std::string command_line;
  std::string cpu;        // model and instruction sets used
  std::string device;     // "cpu", or the GPU's name
  std::string torch;      // version, empty if none
  int threads = 0;
  std::uint64_t seed = 0;
};

class RunFolder {
 public:
  enum class State { kNew, kUnfinished, kFinished };
  struct Options {
    // Keys (dotted prefixes) that may differ from the earlier start: they are logged and config.yaml is rewritten.
    std::vector<std::string> may_change = {"output"};
    bool overwrite = false;  // delete what an earlier run left
  };

  // Makes the folder or opens it. Throws ConfigError, with the remedy, if it is in use by another process, holds a run
  // of another configuration, or holds other things than a run; IoError if it cannot be written.
  RunFolder(const std::filesystem::path& dir, const ResolvedConfig& config, const RunEnvironment& environment, const Options& options);
  RunFolder(const std::filesystem::path& dir, const ResolvedConfig& config, const RunEnvironment& environment)
      : RunFolder(dir, config, environment, Options{}) {}
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  State state() const { return state_; }  // as found
  const std::filesystem::path& path() const { return dir_; }
  std::filesystem::path config() const { return dir_ / "config.yaml"; }
  std::filesystem::path log() const { return dir_ / "log.jsonl"; }
  std::filesystem::path metrics() const { return dir_ / "metrics.jsonl"; }
  std::filesystem::path tensorboard() const { return dir_ / "tensorboard"; }
  std::filesystem::path journal() const { return dir_ / "journal"; }
  std::filesystem::path samples(std::int64_t step) const;     // the file; its folder exists
  void mark_finished();

 private:
  void lock();
  State inspect(const ResolvedConfig& config, const Options& options);
  void write_environment(const RunEnvironment& environment) const;
  std::filesystem::path dir_;
  std::optional<File> lock_;
  State state_ = State::kNew;
};

// "step_000050" and back.
std::string step_name(std::int64_t step);
std::optional<std::int64_t> step_of_name(const std::string& name);

}  // namespace r1
