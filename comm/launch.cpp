#include "comm/launch.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "core/error.h"

namespace r1 {
namespace {

using Get = std::function<const char*(const char*)>;

std::optional<int> number(const Get& get, const char* name) {
  const char* text = get(name);
  if (!text || !*text) return std::nullopt;
  int value = 0;
  const std::string_view view = text;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc{} || end != view.data() + view.size() || value < 0)
    throw ConfigError(message("the environment has ", name, "=", text, ", which is no number; it is the launcher's to set"));
  return value;
}

struct Names { const char *launcher, *rank, *world, *local_rank, *job; };
constexpr Names kLaunchers[] = {
    {"environment", "RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RUN_ID"},
    {"openmpi", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "PMIX_NAMESPACE"},
    {"slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_JOB_ID"},
    {"pmi", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "PMI_ID"},
};

std::string text_of(const Get& get, const char* name) {
  const char* text = get(name);
  return text ? text : "";
}

int port_of_job(const std::string& job) {
  unsigned h = 2166136261u;
  for (char c : job) h = (h ^ static_cast<unsigned char>(c)) * 16777619u;
  return 20000 + static_cast<int>(h % 12000);
}

}  // namespace

std::string first_host(const std::string& node_list) {
  const std::size_t bracket = node_list.find('['), comma = node_list.find(',');
  if (bracket == std::string::npos || comma < bracket) return node_list.substr(0, comma);
  const std::size_t end = node_list.find_first_of(",-]", bracket + 1);
  return node_list.substr(0, bracket) + node_list.substr(bracket + 1, end - bracket - 1);
}

Launch read_launch(const Get& get) {
  Launch out;
  std::string job;
  for (const Names& n : kLaunchers) {
    const auto rank = number(get, n.rank), world = number(get, n.world);
    if (!rank && !world) continue;
    // An interactive Slurm shell has SLURM_PROCID and is no step of several; half a set of the others is a mistake.
    if (!rank || !world) {
      if (std::string_view(n.launcher) != "environment") continue;
      throw ConfigError(message("the environment has ", rank ? n.rank : n.world, " but not ", rank ? n.world : n.rank, "; a launcher sets both, a single process neither"));
    }
    out.rank = *rank, out.world = *world;
    out.launcher = n.launcher;
    out.local_rank = number(get, n.local_rank).value_or(0);
    job = text_of(get, n.job);
    if (out.world < 1 || out.rank >= out.world)
      throw ConfigError(message("the environment has ", n.rank, "=", out.rank, " and ", n.world, "=", out.world, "; the rank must be below the number of ranks"));
    break;
  }
  for (const char* name : {"LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"})
    if (const auto here = number(get, name); here && *here > 0 && out.world > 1) {
      out.local_world = std::min(*here, out.world);
      break;
    }
  if (!text_of(get, "TORCHELASTIC_RUN_ID").empty()) out.launcher = "torchrun";
  out.run_id = message(job, "/", text_of(get, "TORCHELASTIC_RESTART_COUNT"), "/", text_of(get, "SLURM_STEP_ID"), "/", out.world);
  if (out.world == 1) return out;

  out.master = text_of(get, "MASTER_ADDR");
  if (out.master.empty() && out.launcher == "slurm") {
    for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"})
      if (out.master.empty()) out.master = first_host(text_of(get, name));
  }
  if (out.master.empty() && out.local_world == out.world) out.master = "127.0.0.1";
  if (out.master.empty())
    throw ConfigError(message("this is rank ", out.rank, " of ", out.world, " (", out.launcher, ") but MASTER_ADDR is not set: export the address of rank 0's machine"));
  if (const auto port = number(get, "MASTER_PORT")) out.port = *port;
  else if (!job.empty()) out.port = port_of_job(job);
  if (out.port < 1 || out.port > 65000) throw ConfigError(message("MASTER_PORT is ", out.port, ", must be from 1 to 65000"));
  if (text_of(get, "TORCHELASTIC_USE_AGENT_STORE") == "True") out.port += 1, out.ports = 16;
  return out;
}

Launch read_launch() {
  return read_launch([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace r1
