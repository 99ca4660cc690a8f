// Between the files of the box.
#pragma once

#include <string>
#include <vector>

#include "rewards/code/box.h"
#include "rewards/code/fd.h"

namespace r1::code {

Outcome run_unchecked(const Job& job, int landlock_abi);
std::vector<std::string> box_environment();  // "NAME=value", of every program

// stdin as a sealed file: no writer thread, no SIGPIPE if the program does not read it.
Fd sealed_input(const std::string& text);
// Reads what is there. False at the end of the stream.
bool take_output(int fd, std::string& into, std::size_t limit, bool& too_much);

}  // namespace r1::code
