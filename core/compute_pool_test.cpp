#include "core/compute_pool.h"

#include <atomic>
#include <chrono>
#include <ctime>
#include <fstream>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <sched.h>

#include "core/cgroup.h"
#include "core/error.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

TEST_CASE("parallel_for covers every item exactly once, in grain-aligned chunks") {
  for (const int threads : {1, 2, 3, 8}) {
    ComputePool pool(threads);
    CHECK(pool.size() == threads);
    for (const std::int64_t n : {0, 1, 2, 7, 64, 1000, 4097}) {
      for (const std::int64_t grain : {0, 1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
        std::atomic<bool> aligned{true};
        pool.parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
          if (grain > 0 && (begin % grain != 0 || (end != n && end - begin < grain))) aligned = false;
          for (auto i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        });
        CHECK(aligned);
        for (const auto& count : seen) REQUIRE(count == 1);
      }
    }
  }
}

TEST_CASE("many small loops back to back and with gaps: none is lost, none runs after its return") {
  ComputePool pool(4);
  std::int64_t total = 0;
  for (int round = 0; round < 20000; ++round) {
    std::atomic<std::int64_t> sum{0};
    std::int64_t local_alive = round;  // a late worker would touch a dead stack frame; asan and tsan watch this
    pool.parallel_for(16, 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) sum += i + local_alive - round;
    });
    total += sum;
    if (round % 500 == 0) std::this_thread::sleep_for(std::chrono::microseconds(100));  // let the workers sleep
  }
  CHECK(total == 20000 * 120);
}

TEST_CASE("all threads take part when there is work for all") {
  ComputePool pool(3);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // all workers sleep again
    ids.clear();
    // The first block runs before the workers are woken. Of the other three, each waits until three threads are inside,
    // so the loop ends only if the workers do come.
    std::atomic<int> inside{0};
    pool.parallel_for(4, 1, [&](std::int64_t begin, std::int64_t) {
      if (begin == 0) return std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ++inside;
      while (inside < 3) std::this_thread::yield();
      const std::lock_guard lock(mutex);
      ids.insert(std::this_thread::get_id());
    });
    CHECK(ids.size() == 3);
  }
}

TEST_CASE("a loop too short to be worth a wake-up stays on the caller's thread") {
  ComputePool pool(2);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::atomic<int> items{0};
    pool.parallel_for(100, 10, [&](std::int64_t begin, std::int64_t end) { items += static_cast<int>(end - begin); });
    CHECK(items == 100);
  }
}

TEST_CASE("an exception reaches the caller and the pool lives on") {
  ComputePool pool(2);
  for (int round = 0; round < 100; ++round) {
    CHECK_THROWS_WITH_AS(pool.parallel_for(100, 1, [](std::int64_t, std::int64_t end) {
      if (end > 24) throw DataError("bad row");
    }), "bad row", DataError);
    std::atomic<int> items{0};
    pool.parallel_for(10, 1, [&](std::int64_t begin, std::int64_t end) { items += static_cast<int>(end - begin); });
    CHECK(items == 10);
  }
}

TEST_CASE("a nested call runs inline, also on another pool") {
  ComputePool outer(2), inner(2);
  std::atomic<int> items{0};
  outer.parallel_for(8, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      for (ComputePool* pool : {&outer, &inner}) {
        const auto self = std::this_thread::get_id();
        pool->parallel_for(5, 1, [&](std::int64_t b, std::int64_t e) {
          if (std::this_thread::get_id() == self) items += static_cast<int>(e - b);
        });
      }
    }
  });
  CHECK(items == 8 * 2 * 5);
}

TEST_CASE("two callers at once both finish") {
  ComputePool pool(3);
  std::atomic<std::int64_t> sum{0};
  const auto caller = [&] {
    for (int i = 0; i < 1000; ++i) {
      pool.parallel_for(32, 1, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
    }
  };
  std::thread other(caller);
  caller();
  other.join();
  CHECK(sum == 2 * 1000 * 32);
}

TEST_CASE("idle workers sleep: no processor time is used while nothing runs") {
  ComputePool pool(4);
  pool.parallel_for(64, 1, [](std::int64_t, std::int64_t) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const auto cpu_ms = [] {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
  };
  const double before = cpu_ms();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(cpu_ms() - before < 10.0);
}

TEST_CASE("a negative thread count is refused") { CHECK_THROWS_AS(ComputePool(-1), ConfigError); }

TEST_CASE("usable_cores respects the affinity mask") {
  cpu_set_t old;
  REQUIRE(sched_getaffinity(0, sizeof old, &old) == 0);
  int first = 0;
  while (!CPU_ISSET(first, &old)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  CHECK(usable_cores() == 1);
  REQUIRE(sched_setaffinity(0, sizeof old, &old) == 0);
  CHECK(usable_cores() >= 1);
  CHECK(usable_cores() <= CPU_COUNT(&old));
}

void put(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

TEST_CASE("control group limits: version 2, the tightest of the group and its ancestors") {
  const test::TempDir dir;
  put(dir / "self", "0::/user/job\n");
  CHECK_FALSE(cgroup_cpu_limit(dir / "self", dir / "fs"));
  put(dir / "fs/cpu.max", "max 100000\n");
  CHECK_FALSE(cgroup_cpu_limit(dir / "self", dir / "fs"));
  put(dir / "fs/user/job/cpu.max", "400000 100000\n");
  CHECK(cgroup_cpu_limit(dir / "self", dir / "fs") == 4.0);
  put(dir / "fs/user/cpu.max", "150000 100000\n");
  CHECK(cgroup_cpu_limit(dir / "self", dir / "fs") == 1.5);
  put(dir / "fs/user/memory.max", "max\n");
  CHECK_FALSE(cgroup_memory_limit(dir / "self", dir / "fs"));
  put(dir / "fs/memory.max", "1073741824\n");
  CHECK(cgroup_memory_limit(dir / "self", dir / "fs") == (std::int64_t{1} << 30));
}

TEST_CASE("control group limits: version 1, with a path of the host that is not there") {
  const test::TempDir dir;
  put(dir / "self", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n");
  put(dir / "fs/cpu/cpu.cfs_quota_us", "-1\n");
  put(dir / "fs/cpu/cpu.cfs_period_us", "100000\n");
  CHECK_FALSE(cgroup_cpu_limit(dir / "self", dir / "fs"));
  put(dir / "fs/cpu/cpu.cfs_quota_us", "250000\n");
  CHECK(cgroup_cpu_limit(dir / "self", dir / "fs") == 2.5);
  put(dir / "fs/memory/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK_FALSE(cgroup_memory_limit(dir / "self", dir / "fs"));
  put(dir / "fs/memory/memory.limit_in_bytes", "2147483648\n");
  CHECK(cgroup_memory_limit(dir / "self", dir / "fs") == (std::int64_t{2} << 30));
}

}  // namespace
}  // namespace r1
