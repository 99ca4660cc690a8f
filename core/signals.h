// Ctrl-C and termination as a flag that long loops ask. The first signal asks for a graceful stop, the second ends the
// process at once with exit code 130.
#pragma once

#include <string>

namespace r1 {

// SIGINT and SIGTERM set the flag; SIGPIPE is ignored, so that a closed pipe is an error of write() and no sudden death.
// Call it once, early. The first signal prints a line to stderr that says what happens next.
void install_stop_signals();

bool stop_requested();  // async-signal-safe, any thread
int stop_signal();      // the first signal's number, 0 if none
void request_stop();    // as if SIGINT had come; never ends the process
// Something else that this work needs has failed (another process of the run): throw_if_stopped() throws Error(cause) from now on. The
// first cause stays. Any thread.
void request_abort(const std::string& cause);
// Throws Interrupted if a stop was requested, Error if an abort was. For places between units of work.
void throw_if_stopped();
void throw_if_aborted();  // the second alone: for what a stop request must not cut short
void reset_stop_for_tests();

}  // namespace r1
