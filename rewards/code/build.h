// A program of a compiled language -> the file that runs. Built in a box, once for all its tests, and looked up in the
// build cache before.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rewards/code/box.h"
#include "rewards/code/toolchain.h"

namespace r1::code {

struct Built {
  enum Kind : std::uint8_t { kMade, kRefused, kInternal } kind = kInternal;  // kRefused: the compiler did not like it
  std::shared_ptr<const std::string> bytes;  // kMade; nullptr for an interpreted language
  std::string reason;                        // otherwise: what the compiler said, or what failed here
  bool from_cache = false;
};

// `files` lie beside the program when it is built (headers). Thread-safe; throws Error only if this host cannot isolate.
Built build_program(const Language& language, const std::string& program, const std::vector<BoxFile>& files = {});

// The first thing in a C++ program that is neither space nor comment is #include <bits/stdc++.h>: then a precompiled
// form of it, made once, means the same.
bool begins_with_all_headers(std::string_view program);

// Puts a built or interpreted program into a job: its file, its command, what its runtime needs beside.
void add_program(Job& job, const Language& language, const std::string& program, const Built& built);

}  // namespace r1::code
