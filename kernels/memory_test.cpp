// Memory of the kernels: alignment, and that no two owners share a byte.
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/test_support.h"

namespace r1::cpu::test {

TEST_CASE("allocations are aligned, writable and apart, also after others were freed") {
  std::vector<std::shared_ptr<std::byte>> live;
  std::vector<std::size_t> sizes;
  StreamRng rng(5, 5);
  for (int i = 0; i < 300; ++i) {
    const std::size_t bytes = i % 40 == 39 ? (std::size_t{5} << 20) + 1 : 1 + rng.below(700000);
    live.push_back(allocate(bytes));
    sizes.push_back(bytes);
    REQUIRE(reinterpret_cast<std::uintptr_t>(live.back().get()) % 64 == 0);
    std::memset(live.back().get(), i % 251, bytes);
    if (live.size() > 60) {
      const auto gone = static_cast<std::ptrdiff_t>(rng.below(live.size()));
      live.erase(live.begin() + gone);
      sizes.erase(sizes.begin() + gone);
    }
    if (i == 150) {
      live.clear();  // the shared slab starts over
      sizes.clear();
    }
  }
  // Nobody wrote over anybody: every block still holds one value.
  for (std::size_t i = 0; i < live.size(); ++i) {
    const std::byte first = live[i].get()[0];
    bool same = true;
    for (std::size_t j = 0; j < sizes[i]; ++j) same = same && live[i].get()[j] == first;
    CHECK(same);
  }
}

}  // namespace r1::cpu::test
