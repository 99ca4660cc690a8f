// Which walls this host gives to a box. Probed once by making a box and trying.
#pragma once

#include <string>
#include <vector>

namespace r1::code {

struct Guarantees {
  bool namespaces = false;    // user, mount, pid, net, ipc, uts; without them nothing runs
  bool seccomp = false;
  int landlock_abi = 0;       // 0 = the kernel has none
  bool as_root = false;       // the box's program has the id of `nobody`; otherwise the caller's own id
  // Why no control group limits the memory and the processes of a whole tree; empty = one does. Without it they are
  // sampled every few milliseconds, so a burst between two samples may pass the limit before the tree dies.
  std::string cgroup;
  std::string problem;        // why namespaces are not in force
  std::string cold;           // why Python runs start an interpreter each; empty = they use a warm one

  // One line each, for `r1 doctor` and a run's log: "namespaces: in force", "control group: not in force (...)".
  std::vector<std::string> lines() const;

  // What is missing of `required`, names of guarantee_names(): "control_group (cannot make one: Permission denied)", one
  // after another; empty if nothing is. Throws Error for a name that is none.
  std::string missing(const std::vector<std::string>& required) const;
};

// namespaces, seccomp, landlock, control_group, other_user (programs have another id than this process), warm_python.
std::vector<std::string> guarantee_names();

// Measured at the first call; thread-safe.
const Guarantees& host_guarantees();

// Throws Error with the reason and the remedy if a program would not be isolated and nobody allowed that.
void require_isolation();

// The user's explicit word that programs may run without a box where this host cannot make one (see unboxed.h). Never the
// default; for the whole process; hosts that can isolate still do. Thread-safe.
void allow_unisolated(bool allow);

// True: programs run in boxes. False: they must run without, which was allowed. Throws Error as require_isolation does.
bool isolation_or_consent();

}  // namespace r1::code
