// Processor time of this process.
#pragma once

namespace r1 {

// Seconds, user and system, of all its threads since it began. Thread-safe, throws nothing.
double process_cpu_seconds();

}  // namespace r1
