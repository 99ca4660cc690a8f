// r1 report: one HTML file of runs or of a pipeline.
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>
#include <vector>

#include "apps/command.h"
#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/version.h"
#include "report/page.h"

namespace r1 {
namespace {

struct Args {
  std::vector<std::filesystem::path> runs;
  std::filesystem::path out;
};

std::string made_now() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return message("Made by r1 ", version(), " on ", text);
}

}  // namespace

void add_report(CLI::App& app, const Globals& globals, int&) {
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("report", "one self-contained HTML file of a run, of several side by side, or of a pipeline");
  cmd->add_option("run", args->runs, "folders that r1 train or r1 pipeline wrote")->required();
  cmd->add_option("--out,-o", args->out, "the file (default: report.html in the folder if it is one, else here)");
  cmd->footer("Example: r1 report runs/seed0 runs/seed1 runs/seed2 -o seeds.html\n"
              "Runs that differ only in seed and output are drawn as thin lines with their mean.");
  cmd->callback([args, &globals] {
    report::PageInput input = report::load_page(args->runs);
    input.made = made_now();
    const std::filesystem::path out = !args->out.empty() ? args->out : args->runs.size() == 1 ? args->runs[0] / "report.html" : "report.html";
    const std::string page = report::render_page(input);
    if (out.has_parent_path()) make_directories(out.parent_path());
    write_file_atomic(out, page);
    for (const report::RunData& run : input.runs)
      for (const std::string& problem : run.problems) std::fprintf(stderr, "r1: warning: %s: %s\n", run.path.string().c_str(), problem.c_str());
    if (!globals.quiet) std::printf("%s  %s\n", out.string().c_str(), human_bytes(page.size()).c_str());
  });
}

}  // namespace r1
