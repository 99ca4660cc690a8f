// Which instruction set runs: CPUID, the operating system's permission, and a real trial of each set.
#include <atomic>
#include <cstdint>
#include <iterator>

#include "core/error.h"
#include "kernels/cpu.h"
#include "kernels/fault_guard.h"
#include "kernels/table.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace r1::cpu {
namespace {

#if defined(__x86_64__)

std::uint64_t xcr0() {
  std::uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
}

struct Features {
  bool avx2 = false, avx512 = false, avx512bf16 = false, amx = false;
};

// What CPU and operating system announce.
Features announced() {
  Features f;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return f;
  const bool osxsave = c & bit_OSXSAVE, avx = c & bit_AVX, fma = c & bit_FMA, f16c = c & bit_F16C;
  if (!osxsave || !avx) return f;
  const std::uint64_t state = xcr0();
  const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6, tiles = (state & 0x60000) == 0x60000;
  unsigned a1 = 0, b1 = 0, c1 = 0, d1 = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return f;
  if (a >= 1) __get_cpuid_count(7, 1, &a1, &b1, &c1, &d1);
  f.avx2 = ymm && fma && f16c && (b & (1u << 5)) != 0 && (b & (1u << 3)) != 0 && (b & (1u << 8)) != 0;  // AVX2, BMI1, BMI2
  // F, DQ, BW, VL
  f.avx512 = f.avx2 && zmm && (b & (1u << 16)) && (b & (1u << 17)) && (b & (1u << 30)) && (b & (1u << 31));
  f.avx512bf16 = f.avx512 && (a1 & (1u << 5));
  f.amx = f.avx512bf16 && tiles && (d & (1u << 24)) && (d & (1u << 22));  // AMX-TILE, AMX-BF16
  return f;
}

// Linux gives tile state to processes that ask for it (arch/x86/include/uapi/asm/prctl.h).
bool request_tiles() {
  constexpr int kArchReqXcompPerm = 0x1023, kXfeatureXtiledata = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
}

#endif

struct Available {
  const Table* tables[5] = {&kPortableTable, nullptr, nullptr, nullptr, nullptr};
};

Available probe() {
  Available out;
#if defined(__x86_64__)
  const Features f = announced();
  const auto add = [&](bool has, const Table& t) {
    if (has && runs_without_fault(t.trial)) out.tables[static_cast<int>(t.isa)] = &t;
    return out.tables[static_cast<int>(t.isa)] != nullptr;
  };
  if (add(f.avx2, kAvx2Table) && add(f.avx512, kAvx512Table) && add(f.avx512bf16, kAvx512Bf16Table)) {
    if (f.amx && request_tiles()) add(true, kAmxTable);
  }
#endif
  return out;
}

const Available& available() {
  static const Available probed = probe();
  return probed;
}

const Table* best() {
  const Table* found = nullptr;
  for (const Table* t : available().tables)
    if (t != nullptr) found = t;
  return found;
}

std::atomic<const Table*> chosen{nullptr};

}  // namespace

const Table& table() {
  const Table* t = chosen.load(std::memory_order_acquire);
  if (t == nullptr) [[unlikely]] {
    t = best();
    const Table* expected = nullptr;
    if (!chosen.compare_exchange_strong(expected, t)) t = expected;
  }
  return *t;
}

Isa best_isa() { return best()->isa; }
Isa isa() { return table().isa; }

void set_isa(Isa wanted) {
  const auto index = static_cast<std::size_t>(wanted);
  if (index >= std::size(Available{}.tables) || available().tables[index] == nullptr) {
    throw DeviceError(message("this CPU, its hypervisor or its operating system does not run the instruction set ", to_string(wanted),
                              "; the best it runs is ", to_string(best_isa())));
  }
  chosen.store(available().tables[index], std::memory_order_release);
}

const char* to_string(Isa i) {
  switch (i) {
    case Isa::kPortable: return "portable";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kAvx512Bf16: return "avx512-bf16";
    case Isa::kAmx: return "amx";
  }
  return "unknown";
}

}  // namespace r1::cpu
