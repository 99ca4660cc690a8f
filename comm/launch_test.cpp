#include <doctest/doctest.h>

#include <map>

#include "comm/launch.h"
#include "core/error.h"

namespace r1 {
namespace {

Launch from(const std::map<std::string, std::string>& variables) {
  return read_launch([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

}  // namespace

TEST_CASE("one process without a launcher, or in an interactive shell of Slurm") {
  CHECK(from({}).world == 1);
  const Launch l = from({{"SLURM_NTASKS", "4"}, {"SLURM_JOB_ID", "7"}});
  CHECK(l.world == 1);
  CHECK(l.launcher == "single");
}

TEST_CASE("torchrun's variables; its agent has the port, so that rank 0 takes one behind it") {
  const Launch l = from({{"RANK", "3"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"MASTER_ADDR", "gpu7"}, {"MASTER_PORT", "29400"},
                         {"TORCHELASTIC_RUN_ID", "job"}, {"TORCHELASTIC_RESTART_COUNT", "2"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}});
  CHECK(l.rank == 3);
  CHECK(l.world == 8);
  CHECK(l.local_rank == 1);
  CHECK(l.master == "gpu7");
  CHECK(l.port == 29401);
  CHECK(l.ports == 16);
  CHECK(l.launcher == "torchrun");
  CHECK(l.run_id != from({{"RANK", "3"}, {"WORLD_SIZE", "8"}, {"MASTER_ADDR", "gpu7"}, {"TORCHELASTIC_RUN_ID", "job"}, {"TORCHELASTIC_RESTART_COUNT", "3"}}).run_id);
}

TEST_CASE("plain variables, as a Kubernetes job sets them") {
  const Launch l = from({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "train-0.train"}, {"MASTER_PORT", "23456"}});
  CHECK(l.port == 23456);
  CHECK(l.ports == 1);
  CHECK(l.launcher == "environment");
}

TEST_CASE("Slurm: the first host of the list, a port of the job") {
  const std::map<std::string, std::string> step = {{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "1"}, {"SLURM_JOB_ID", "123"},
                                                   {"SLURM_STEP_NODELIST", "gpu[07-09,12],cpu3"}};
  const Launch l = from(step);
  CHECK(l.launcher == "slurm");
  CHECK(l.rank == 5);
  CHECK(l.local_rank == 1);
  CHECK(l.master == "gpu07");
  CHECK(l.port == from(step).port);
  CHECK(l.port >= 20000);
  CHECK(l.port < 32000);
  CHECK(first_host("n1") == "n1");
  CHECK(first_host("n1,n2") == "n1");
  CHECK(first_host("n[3,5]") == "n3");
  CHECK(first_host("a1,b[2-3]") == "a1");
}

TEST_CASE("Open MPI and PMI: this machine where all ranks are on it, else MASTER_ADDR is asked for") {
  std::map<std::string, std::string> v = {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
  CHECK(from(v).master == "127.0.0.1");
  CHECK(from(v).launcher == "openmpi");
  v["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1";
  CHECK_THROWS_WITH_AS(from(v), doctest::Contains("MASTER_ADDR is not set"), ConfigError);
  CHECK(from({{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}, {"MASTER_ADDR", "h"}}).launcher == "pmi");
}

TEST_CASE("senseless variables are named") {
  CHECK_THROWS_WITH_AS(from({{"RANK", "1"}}), doctest::Contains("has RANK but not WORLD_SIZE"), ConfigError);
  CHECK_THROWS_WITH_AS(from({{"RANK", "x"}, {"WORLD_SIZE", "2"}}), doctest::Contains("RANK=x"), ConfigError);
  CHECK_THROWS_WITH_AS(from({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), doctest::Contains("must be below"), ConfigError);
  CHECK_THROWS_WITH_AS(from({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "h"}, {"MASTER_PORT", "70000"}}), doctest::Contains("MASTER_PORT"), ConfigError);
}

}  // namespace r1
