// The loop of a process that boxes are copied out of; see warm_protocol.h.
#pragma once

#include "rewards/code/box_child.h"

namespace r1::code {

bool reply(int control, pid_t pid, int error, int pidfd = -1);

// Serves until the maker closes the line or dies; the next box is always made ahead. whole: with its root and the program's process, so
// that no order may ask for folders. Returns only in copies that are to run a warm program, behind their walls, with the descriptor for reports still open:
// it is the result.
int serve_boxes(int control, int maker, bool whole, pid_t (*fork_program)());

}  // namespace r1::code
