// Which process of a run this is, from what its launcher set in the environment.
#pragma once

#include <functional>
#include <string>

namespace r1 {

struct Launch {
  int rank = 0, world = 1;
  int local_rank = 0;              // on this machine: the GPU to use
  int local_world = 1;             // ranks on this machine, where the launcher says so
  std::string launcher = "single"; // torchrun, slurm, openmpi, pmi, environment, single
  std::string master = "127.0.0.1";
  int port = 29500;                // where rank 0 serves the rendezvous; of several (below) the first
  int ports = 1;                   // further ports tried where the first is taken: torchrun's agent listens on MASTER_PORT itself
  std::string run_id;              // the same on all ranks of a start, another one in the next
};

// `get` gives an environment variable, or null. In this order: RANK + WORLD_SIZE (torchrun, Kubernetes, by hand), OMPI_COMM_WORLD_*
// (Open MPI), SLURM_PROCID + SLURM_NTASKS (srun), PMI_RANK + PMI_SIZE (MPICH, Intel MPI); none of them: one process. The address of rank
// 0 is MASTER_ADDR; else the first host of SLURM_STEP_NODELIST or SLURM_NODELIST; else this machine where all ranks are on it. The port is
// MASTER_PORT; else one made from the job's number. Throws ConfigError naming the variable that is missing or senseless.
Launch read_launch(const std::function<const char*(const char*)>& get);
Launch read_launch();  // of this process

// The first host of Slurm's notation: gpu[07-09,12],cpu3 -> gpu07.
std::string first_host(const std::string& node_list);

}  // namespace r1
