// What isolation costs on this host, beside the usual ways to run a program, all in one run and taking turns.
#pragma once

#include <string>

namespace r1::code {

// One JSON object: per case the number of runs, the median, mean, 95th and 99.9th percentiles in ms, and runs/s one after another;
// "overhead_ms" (a box around /usr/bin/true less bare posix_spawn of it, medians), "warm_python_ms", which aims hold, and
// which programs are absent; "builds": ms to build a small program of each compiled language, and out of the cache. Takes
// about 0.15 s a run, and up to a minute for the builds. Throws Error if this host cannot isolate or runs < 3.
std::string measure_sandbox(int runs);

}  // namespace r1::code
