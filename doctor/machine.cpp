// check_machine
#include <algorithm>
#include <fstream>

#include "core/compute_pool.h"
#include "core/error.h"
#include "core/format.h"
#include "core/machine.h"
#include "core/memory.h"
#include "doctor/checks.h"
#include "kernels/cpu.h"
#include "kernels/gpu/device.h"
#include "rewards/code/isolation.h"
#include "rewards/code/toolchain.h"

namespace r1::doctor {
namespace {

bool cpu_says(const std::string& flag) {
  std::ifstream in("/proc/cpuinfo");
  std::string line;
  while (std::getline(in, line))
    if (line.starts_with("flags")) return (line + " ").find(" " + flag + " ") != std::string::npos;
  return false;
}

void check_cpu(Findings& out) {
  const cpu::Isa isa = cpu::best_isa();
  out.good("cpu", message(cpu_name(), ", ", to_string(isa), ", ", usable_cores(), " usable cores"));
  if (isa == cpu::Isa::kPortable || isa == cpu::Isa::kAvx2)
    out.note("cpu-instructions", message("this CPU has no AVX-512: kernels run in their ", to_string(isa), " form, several times slower in bfloat16"));
  if (isa != cpu::Isa::kAmx && cpu_says("amx_tile"))
    out.warning("amx", "the CPU has AMX tiles, but the kernel does not give them to this process",
                "a kernel of 5.16 or later, and a sandbox that lets arch_prctl(ARCH_REQ_XCOMP_PERM) through");
}

void check_memory(const std::filesystem::path& folder, Findings& out) {
  const std::int64_t memory = available_memory();
  if (memory <= 0) {
    out.note("memory", "how much memory is free cannot be read here");
  } else if (memory < std::int64_t{2} << 30) {
    out.warning("memory", message(human_bytes(static_cast<std::uint64_t>(memory)), " of memory available"), "training a 135M model takes about 4 GiB");
  } else {
    out.good("memory", message(human_bytes(static_cast<std::uint64_t>(memory)), " available"));
  }
  std::error_code error;
  std::filesystem::path there = std::filesystem::absolute(folder, error);
  while (!there.empty() && !std::filesystem::exists(there, error) && there != there.root_path()) there = there.parent_path();
  const std::filesystem::space_info space = std::filesystem::space(there, error);
  if (error) out.note("disk", message(there.string(), ": ", error.message()));
  else out.good("disk", message(human_bytes(space.available), " free under ", there.string()));
}

void check_gpu(Findings& out) {
  std::ifstream driver("/proc/driver/nvidia/version");
  std::string version;
  std::getline(driver, version);
  if (gpu::available()) {
    const gpu::DeviceInfo info = gpu::device_info();
    out.good("gpu", message(info.name, ", compute capability ", info.compute_capability / 10, ".", info.compute_capability % 10, ", ",
                            info.multiprocessors, " multiprocessors, ", human_bytes(info.memory_free), " of ", human_bytes(info.memory_total), " free",
                            version.empty() ? "" : "; driver: " + version));
    if (info.memory_free < info.memory_total / 2)
      out.warning("gpu-memory", "less than half of the GPU's memory is free", "another process uses it (nvidia-smi lists them)");
  } else if (!version.empty()) {
    out.warning("gpu", message("a driver is there (", version, "), but ", gpu::unavailable_reason()), "runs use the CPU until then");
  } else {
    out.note("gpu", gpu::unavailable_reason());
  }
}

void check_sandbox(Findings& out) {
  const code::Guarantees& host = code::host_guarantees();
  std::string all;
  for (const std::string& line : host.lines()) all += (all.empty() ? "" : "\n") + line;
  if (!host.namespaces)
    out.warning("sandbox", all, "programs of models cannot be isolated here: reward code is refused (docs/code_runner.md has the remedies)");
  else if (!host.cgroup.empty()) out.note("sandbox", all, "without a control group memory and processes of a program are sampled, not walled");
  else out.good("sandbox", all);
  std::string there, missing;
  for (const code::Toolchain& t : code::toolchains()) {
    if (t.path.empty()) missing += (missing.empty() ? "" : ", ") + t.language;
    else there += (there.empty() ? "" : "\n") + t.language + ": " + t.version + " (" + t.path + ")";
  }
  out.add(there.empty() ? Level::kWarning : Level::kGood, "toolchains", there.empty() ? "none is installed" : there,
          missing.empty() ? "" : "not installed, so programs in them get verdict error: " + missing);
}

}  // namespace

void check_machine(const std::filesystem::path& folder, Findings& out) {
  out.section("machine");
  check_cpu(out);
  check_memory(folder, out);
  check_gpu(out);
  check_sandbox(out);
}

}  // namespace r1::doctor
