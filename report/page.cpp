#include "report/page.h"

#include "core/error.h"
#include "report/assets.h"
#include "report/html.h"
#include "report/pipeline_folder.h"
#include "report/sections.h"
#include "report/series.h"

namespace r1::report {
namespace {

std::string title_of(const PageInput& input) {
  if (!input.title.empty()) return input.title;
  if (input.runs.size() == 1) return input.runs.front().name;
  std::string names;
  for (std::size_t i = 0; i < input.runs.size() && i < 3; ++i) names += message(i ? ", " : "", input.runs[i].name);
  return input.runs.size() > 3 ? message(names, " and ", input.runs.size() - 3, " more") : names;
}

std::string head_line(const PageInput& input) {
  std::string kinds;
  for (const RunData& run : input.runs)
    if (!run.kind.empty() && kinds.find(run.kind) == std::string::npos) kinds += (kinds.empty() ? "" : ", ") + run.kind;
  std::string model;
  for (const RunData& run : input.runs)
    for (const ConfigLine& line : run.config)
      if (line.key == "model.path" && model.empty()) model = line.value;
  return message(input.pipeline ? "Pipeline of " : "", input.runs.size(), input.pipeline ? " stage" : " run", input.runs.size() == 1 ? "" : "s",
                 kinds.empty() ? "" : " · " + escape(kinds), model.empty() ? "" : " · " + escape(model));
}

// Two runs of one folder name get the folder above in front.
void name_apart(std::vector<RunData>& runs) {
  std::map<std::string, int> count;
  for (const RunData& run : runs) ++count[run.name];
  for (RunData& run : runs) {
    if (count[run.name] < 2) continue;
    std::filesystem::path above = std::filesystem::absolute(run.path / ".").lexically_normal().parent_path().parent_path();
    if (run.stage || above.filename() == run.name) above = above.parent_path().parent_path();  // stages/NAME/KEY of two pipelines
    run.name = above.filename().string() + "/" + run.name;
  }
}

}  // namespace

PageInput load_page(std::span<const std::filesystem::path> folders) {
  PageInput input;
  bool any = false;
  for (const auto& folder : folders) {
    auto stages = load_stages(folder);
    const bool pipeline = !stages.empty();
    if (!pipeline) input.runs.push_back(load_run(folder));
    const std::string name = std::filesystem::absolute(folder / ".").lexically_normal().parent_path().filename().string();
    for (RunData& stage : stages) stage.pipeline = name, input.runs.push_back(std::move(stage));
    if (pipeline && folders.size() == 1) {
      input.pipeline = true;
      input.title = name;
    }
  }
  std::string why;
  for (const RunData& run : input.runs) {
    any = any || !run.empty();
    for (const std::string& problem : run.problems) why += message(why.empty() ? "" : "; ", run.path.string(), ": ", problem);
  }
  if (!any) throw ConfigError(message("nothing to report: ", why, ". Give folders that r1 train wrote (output.dir)"));
  name_apart(input.runs);
  return input;
}

std::string render_page(const PageInput& input) {
  const auto groups = group_runs(input.runs);
  const std::string title = title_of(input);
  struct Part { const char *id, *name; std::string html; };
  std::vector<Part> parts;
  parts.push_back({"problems", "Problems", problems_section(input.runs)});
  parts.push_back({"summary", input.pipeline ? "Stages" : "Summary", summary_section(input)});
  parts.push_back({"stages", "Answers by stage", stages_section(input.runs)});
  parts.push_back({"curves", "Curves", curves_section(groups)});
  parts.push_back({"samples", "Samples", samples_section(input.runs)});
  parts.push_back({"language", "Language", language_section(input.runs)});
  parts.push_back({"verdicts", "Verifiers", verdicts_section(input.runs)});
  parts.push_back({"cost", "Cost", cost_section(input.runs)});
  parts.push_back({"configuration", "Configuration", configuration_section(input.runs, groups)});
  std::string navigation, body;
  for (const Part& part : parts) {
    if (part.html.empty()) continue;
    navigation += message("<a href=\"#", part.id, "\">", part.name, "</a>\n");
    body += part.html;
  }
  return message("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>"
                 "<meta name=\"color-scheme\" content=\"light dark\"/><title>", escape(title), " – r1 report</title>\n<style>\n", page_css(),
                     "</style></head>\n<body>\n"
                 "<a class=\"skip\" href=\"#main\">Skip to the content</a>\n<header><h1>", escape(title), "</h1><p>", head_line(input), "</p>"
                 "<nav aria-label=\"Sections\">\n", navigation,
                     "<button type=\"button\" id=\"theme\" hidden=\"hidden\">Dark or light</button></nav></header>\n"
                 "<main id=\"main\" tabindex=\"-1\">\n", body, "</main>\n<footer><p>", escape(input.made), "</p></footer>\n<script>\n", page_js(),
                 "</script>\n</body></html>\n");
}

}  // namespace r1::report
