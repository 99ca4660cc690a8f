#include "core/run_folder.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>

#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/cgroup.h"
#include "core/compute_pool.h"
#include "core/error.h"
#include "core/log.h"
#include "core/version.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
constexpr const char* kLockName = ".lock";
constexpr const char* kFinishedName = "finished";

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  char buffer[32];
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return buffer;
}

std::string host_name() {
  utsname name{};
  return uname(&name) == 0 ? name.nodename : "unknown";
}

std::string first_lines(const std::vector<std::string>& lines, std::size_t shown) {
  std::string text;
  for (std::size_t i = 0; i < std::min(lines.size(), shown); ++i) text += "\n  " + lines[i];
  if (lines.size() > shown) text += message("\n  ... and ", lines.size() - shown, " more");
  return text;
}

std::int64_t memory_bytes() {
  std::int64_t bytes = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
  if (const auto limit = cgroup_memory_limit()) bytes = std::min(bytes, *limit);
  return bytes;
}

}  // namespace

std::string step_name(std::int64_t step) {
  char name[40];
  std::snprintf(name, sizeof name, "step_%06lld", static_cast<long long>(step));
  return name;
}

std::optional<std::int64_t> step_of_name(const std::string& name) {
  if (name.rfind("step_", 0) != 0) return std::nullopt;
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size() || step < 0) return std::nullopt;
  return step;
}

RunFolder::RunFolder(const fs::path& dir, const ResolvedConfig& config, const RunEnvironment& environment, const Options& options)
    : dir_(dir) {
  make_directories(dir_);
  lock();
  state_ = inspect(config, options);
  remove_temporaries(dir_);
  for (const char* name : {"samples", "journal", "checkpoints"}) {
    make_directories(dir_ / name);
    remove_temporaries(dir_ / name);
  }
  write_environment(environment);
  // Last: its presence says that this is a run's folder.
  write_file_atomic(this->config(), config.to_yaml(true));
}

RunFolder::~RunFolder() = default;  // closing the file gives the lock back

void RunFolder::lock() {
  lock_.emplace(dir_ / kLockName, File::Mode::kAppend);
  if (::flock(lock_->descriptor(), LOCK_EX | LOCK_NB) != 0) {
    const int code = errno;
    if (code != EWOULDBLOCK) {
      throw IoError(message("cannot lock ", lock_->path().string(), ": ", std::strerror(code), "; choose an output.dir on a file system with locks"));
    }
    std::string owner = read_file(lock_->path());
    while (!owner.empty() && owner.back() == '\n') owner.pop_back();
    throw ConfigError(message("another r1 (", owner.empty() ? "unknown" : owner, ") is using ", dir_.string(),
                              "; wait until it ends or choose another output.dir"));
  }
  lock_->truncate(0);
  lock_->write(message("process ", getpid(), " on ", host_name(), "\n"));
}

RunFolder::State RunFolder::inspect(const ResolvedConfig& config, const Options& options) {
  std::error_code none;
  if (options.overwrite) {
    // config.yaml goes first: a half-deleted folder must not look like a run.
    fs::remove(this->config(), none);
    for (const char* name : {"environment.json", "log.jsonl", "metrics.jsonl", "tensorboard", "report.html", "samples", "rollouts", "journal", "checkpoints", "eval", "audit",
                             "cache", kFinishedName}) {
      fs::remove_all(dir_ / name, none);
      if (none) throw IoError(message("cannot delete ", (dir_ / name).string(), ": ", none.message()));
    }
  }
  if (!fs::exists(this->config(), none)) {
    // Nothing, or what a start left that was killed before config.yaml.
    for (const auto& entry : fs::directory_iterator(dir_)) {
      const std::string name = entry.path().filename().string();
      const bool ours = name == kLockName || name == "environment.json" || name == "log.jsonl" || name.find(".tmp-") != std::string::npos ||
                        ((name == "samples" || name == "journal" || name == "checkpoints") && fs::is_empty(entry.path()));
      if (!ours) {
        throw ConfigError(message(dir_.string(), " is no run folder but holds '", name, "'; choose an empty or new output.dir"));
      }
    }
    return State::kNew;
  }
  const Config old_file = Config::load(this->config());
  const ResolvedConfig old(old_file.root());
  if (old.digest(options.may_change) != config.digest(options.may_change)) {
    throw ConfigError(message(dir_.string(), " holds a run of another configuration:", first_lines(old.differences(config, options.may_change), 10),
                              "\nchoose another output.dir, restore these values to resume, or add --overwrite to delete that run"));
  }
  for (const auto& line : old.differences(config)) log_info("run.changed", {{"text", line}});
  return fs::exists(dir_ / kFinishedName, none) ? State::kFinished : State::kUnfinished;
}

void RunFolder::write_environment(const RunEnvironment& environment) const {
  const fs::path path = dir_ / "environment.json";
  nlohmann::ordered_json all{{"starts", nlohmann::ordered_json::array()}};
  if (std::error_code none; state_ != State::kNew && fs::exists(path, none)) {
    const auto old = nlohmann::ordered_json::parse(read_file(path), nullptr, false);
    if (old.is_object() && old.contains("starts") && old["starts"].is_array()) all = old;
  }
  utsname system{};
  uname(&system);
  all["starts"].push_back({{"time", now_text()},
                           {"r1", version()},
                           {"commit", git_commit()},
                           {"command_line", environment.command_line},
                           {"host", system.nodename},
                           {"system", message(system.sysname, " ", system.release, " ", system.machine)},
                           {"cpu", environment.cpu},
                           {"cores", usable_cores()},
                           {"threads", environment.threads},
                           {"memory_bytes", memory_bytes()},
                           {"device", environment.device},
                           {"torch", environment.torch},
                           {"seed", environment.seed}});
  write_file_atomic(path, all.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

fs::path RunFolder::samples(std::int64_t step) const { return dir_ / "samples" / (step_name(step) + ".jsonl"); }

void RunFolder::mark_finished() { write_file_atomic(dir_ / kFinishedName, now_text() + "\n"); }

}  // namespace r1
