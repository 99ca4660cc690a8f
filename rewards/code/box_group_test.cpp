// Control groups: what the kernel enforces where they can be made, and plain words where they cannot.
#include "rewards/code/box_group.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "rewards/code/box_test_support.h"
#include "rewards/code/isolation.h"
#include "rewards/code/warm_pool.h"

namespace r1::code {
namespace {

namespace fs = std::filesystem;

TEST_CASE("without a delegated group the reason is told and nothing is left behind") {
  const fs::path dir = fs::temp_directory_path() / ("r1-groups-" + std::to_string(getpid()));
  fs::create_directories(dir / "mount/me");
  std::ofstream(dir / "none") << "";
  std::ofstream(dir / "two") << "0::/me\n";
  std::ofstream(dir / "one") << "4:memory:/absent\n3:pids:/\n0::/\n";
  CHECK(BoxGroup(dir / "none", dir / "mount").problem() == "this process is in no control group");
  CHECK(BoxGroup(dir / "two", dir / "mount").problem().find("not delegated") != std::string::npos);
  CHECK(BoxGroup(dir / "one", dir / "mount").problem().find("No such file") != std::string::npos);
  CHECK(fs::is_empty(dir / "mount/me"));
  fs::remove_all(dir);
}

TEST_CASE("the kernel stops a burst of memory at the limit, and the next box is not touched by it") {
  if (test::absent()) return;
  if (!group_problem(host_guarantees().landlock_abi).empty()) return r1::test::skip(group_problem(host_guarantees().landlock_abi).c_str());
  Limits limits;
  limits.memory_mb = 64;
  const Outcome o = test::run_python("x = b'x' * (700 << 20)\nprint(len(x))\n", "", limits);
  CHECK(o.end == End::kMemory);
  CHECK(o.memory_kb < 110 * 1024);  // 64 MB, and what it shares with the interpreter
  CHECK(test::run_python("x = b'x' * (30 << 20)\nprint(len(x))\n", "", limits).output == "31457280\n");
}

TEST_CASE("a group counts a child's memory though its parent lives on") {
  if (test::absent()) return;
  Limits limits;
  limits.memory_mb = 64;
  const Outcome o = test::run_python("import os\nif os.fork() == 0:\n    x = b'x' * (700 << 20)\n    os._exit(0)\nos.wait()\nprint('survived')\n",
                                     "", limits);
  CHECK(o.end == End::kMemory);
}

}  // namespace
}  // namespace r1::code
