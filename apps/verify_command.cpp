#include "apps/verify_command.h"

#include <cstdio>
#include <memory>

#include "core/compute_pool.h"
#include "core/error.h"
#include "core/signals.h"
#include "rewards/code/isolation.h"
#include "rewards/verify/verify_stream.h"

namespace r1 {
namespace {

constexpr std::size_t kCheapBatch = 32;  // a check takes microseconds, as much as handing one to a thread

void run(VerifyKind kind, int threads, int max_line_mb, bool unisolated, bool quiet) {
  install_stop_signals();
  if (kind == VerifyKind::kCode) {
    if (unisolated) code::allow_unisolated(true);
    code::isolation_or_consent();
  } else if (unisolated) {
    throw ConfigError("--allow-unisolated has an effect on code alone");
  }
  const Verifier verifier(kind);
  VerifyStreamOptions o;
  o.threads = threads > 0 ? threads : usable_cores();
  o.batch_lines = kind == VerifyKind::kCode ? 1 : kCheapBatch;
  o.max_line_bytes = static_cast<std::size_t>(max_line_mb) << 20;
  const VerifyStreamResult r =
      verify_stream([&](std::string_view line, std::int64_t number) { return verifier.reply(line, number); }, o);
  if (r.errors > 0 && !quiet)
    std::fprintf(stderr, "r1 verify: %lld of %lld lines could not be read; the first: %s\n", static_cast<long long>(r.errors),
                 static_cast<long long>(r.lines), r.first_error.c_str());
  if (r.stopped) throw Interrupted(message("stopped after ", r.lines, " replies"));
  if (r.reader_gone) throw Error(message("nobody reads the replies any more; ", r.lines, " were made"));
}

}  // namespace

void set_up_verify(CLI::App& cmd, const int& threads, const bool& quiet) {
  struct Args {
    std::string kind;
    int max_line_mb = 16;
    bool unisolated = false;
  };
  auto args = std::make_shared<Args>();
  cmd.add_option("kind", args->kind, "math, code, format or language")->required();
  cmd.add_option("--max-line-mb", args->max_line_mb, "longer lines are error replies (default 16)")->check(CLI::Range(1, 1024));
  cmd.add_flag("--allow-unisolated", args->unisolated, "code: run programs even where this host cannot isolate them");
  cmd.footer(
      "One JSON object a line on stdin, one reply a line on stdout, in order, as soon as it is known; \"id\" comes back.\n"
      "A line that cannot be read gets {\"line\", \"error\"}; the exit code stays 0.\n"
      "  math      {\"gold\", \"answer\" | \"completion\", \"options\", \"prefill\", \"stop\"}\n"
      "  code      {\"program\" | \"completion\", \"language\", \"tests\": [{\"input\", \"output\"} | {\"call\", \"expected\"}], \"tolerance\", \"limits\"}\n"
      "  format    {\"completion\", \"prefill\", \"stop\", \"options\"}\n"
      "  language  {\"completion\", \"language\", \"prefill\", \"options\"}\n"
      "Example: echo '{\"gold\":\"1/2\",\"answer\":\"0.5\"}' | r1 verify math");
  cmd.callback([args, &threads, &quiet] { run(verify_kind(args->kind), threads, args->max_line_mb, args->unisolated, quiet); });
}

}  // namespace r1
