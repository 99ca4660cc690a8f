#include <fstream>

#include "text/parquet.h"

namespace r1 {

bool is_parquet(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  char head[4] = {};
  return in.read(head, 4) && std::string(head, 4) == "PAR1";
}

}  // namespace r1
