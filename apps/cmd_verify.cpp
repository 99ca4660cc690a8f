// r1 verify: verdicts for other programs, JSON lines in and out.
#include "apps/command.h"
#include "apps/verify_command.h"

namespace r1 {

void add_verify(CLI::App& app, const Globals& globals, int&) {
  set_up_verify(*app.add_subcommand("verify", "JSON lines on stdin, one verdict a line on stdout: math, code, format, language"),
                globals.threads, globals.quiet);
}

}  // namespace r1
