#include "rewards/code/isolation.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "core/error.h"
#include "rewards/code/box_internal.h"
#include "rewards/code/seccomp_filter.h"
#include "rewards/code/warm_pool.h"

namespace r1::code {
namespace {

std::atomic<bool> unisolated_allowed = false;

std::string join(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& w : words) all += (all.empty() ? "" : ", ") + w;
  return all;
}

}  // namespace

int landlock_abi() {
  constexpr int kVersion = 1;  // LANDLOCK_CREATE_RULESET_VERSION
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, kVersion);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

std::vector<std::string> Guarantees::lines() const {
  const auto line = [](const char* what, bool yes, const std::string& no) {
    return message(what, ": ", yes ? std::string("in force") : "not in force" + (no.empty() ? "" : " (" + no + ")"));
  };
  return {line("namespaces (user, mount, pid, net, ipc, uts)", namespaces, problem),
          line("seccomp allow list", seccomp, ""),
          landlock_abi > 0 ? message("Landlock: in force, ABI ", landlock_abi) : "Landlock: not in force (kernel lacks it)",
          message("program's user: ", as_root ? "nobody" : "the caller, without capabilities"),
          line("control group (memory, processes)", cgroup.empty(), cgroup + "; the tree is watched every few ms instead"),
          line("warm Python interpreter", cold.empty(), cold)};
}

std::vector<std::string> guarantee_names() {
  return {"namespaces", "seccomp", "landlock", "control_group", "other_user", "warm_python"};
}

std::string Guarantees::missing(const std::vector<std::string>& required) const {
  std::string all;
  for (const std::string& name : required) {
    std::string why;
    if (name == "namespaces") why = namespaces ? "" : problem.empty() ? "not in force" : problem;
    else if (name == "seccomp") why = seccomp ? "" : "not in force";
    else if (name == "landlock") why = landlock_abi > 0 ? "" : "the kernel lacks it";
    else if (name == "control_group") why = cgroup;
    else if (name == "other_user") why = as_root ? "" : "only root can give programs another id";
    else if (name == "warm_python") why = cold;
    else throw Error(message("'", name, "' is no guarantee of the code runner; they are ", join(guarantee_names())));
    if (!why.empty()) all += message(all.empty() ? "" : "; ", name, " (", why, ")");
  }
  return all;
}

const Guarantees& host_guarantees() {
  static const Guarantees found = [] {
    Guarantees g;
    g.landlock_abi = landlock_abi();
    g.as_root = geteuid() == 0;
    g.seccomp = !program_filter().empty();
    Job job;
    job.argv = {"/usr/bin/true"};
    job.warm = false;
    const Outcome o = run_unchecked(job, g.landlock_abi);
    g.namespaces = o.end == End::kExited && o.status == 0;
    if (!g.namespaces) g.problem = o.detail.empty() ? "a trial box failed" : o.detail;
    g.cgroup = g.namespaces ? group_problem(g.landlock_abi) : "no namespaces";
    g.cold = g.namespaces ? warm_problem(g.landlock_abi) : "no namespaces";
    return g;
  }();
  return found;
}

void allow_unisolated(bool allow) { unisolated_allowed = allow; }

bool isolation_or_consent() {
  const Guarantees& g = host_guarantees();
  if (g.namespaces) return true;
  if (unisolated_allowed) return false;
  throw Error(message("this host cannot isolate programs: ", g.problem,
                      ". The code reward needs user namespaces (sysctl user.max_user_namespaces > 0, "
                      "kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0; in a "
                      "container: allow unshare and mount), or run as root. To run programs without isolation all the "
                      "same, with the rights of this user, say allow_unisolated: true."));
}

void require_isolation() { (void)isolation_or_consent(); }

}  // namespace r1::code
