// The process that boxes of compiled programs and other interpreters are copied out of: a small one, since a copy of the
// program that asks for them, with its gigabytes, would cost more than the box.
#include <unistd.h>

#include "rewards/code/box_server.h"

int main() {
  using namespace r1::code;
  serve_boxes(3, 4, false, [] { return fork(); });
  return 1;  // not reached: it gets no order for a Python file
}
