#include "core/memory.h"

#include <doctest/doctest.h>

#include <fstream>
#include <string>

#include <unistd.h>

namespace r1 {

TEST_CASE("available memory is read from the system, and 0 where it cannot be") {
  CHECK(available_memory() > 1 << 20);
  const auto file = std::filesystem::temp_directory_path() / ("r1_meminfo_" + std::to_string(getpid()));
  std::ofstream(file) << "MemTotal:       1000 kB\nMemFree:  5 kB\nMemAvailable:     700 kB\n";
  CHECK(available_memory(file) == 700 * 1024);
  std::ofstream(file) << "MemTotal:       1000 kB\n";
  CHECK(available_memory(file) <= available_memory());
  std::filesystem::remove(file);
}

}  // namespace r1
