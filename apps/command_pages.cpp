// Man pages and the site's page of commands.
#include <algorithm>

#include "apps/command_tree.h"

namespace r1 {
namespace {

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

// Text for roff: backslashes, hyphens that are meant as such, and lines that would be requests.
std::string roff(const std::string& text) {
  std::string out;
  bool line_start = true;
  for (const char c : text) {
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') out += "\\e";
    else if (c == '-') out += "\\-";
    else out += c;
    if (c == '\n') out += ".br\n";
    line_start = c == '\n';
  }
  return out;
}

std::string synopsis(const CommandEntry& command) {
  std::string out = command.name();
  if (std::any_of(command.options.begin(), command.options.end(), [](const OptionEntry& o) { return !o.positional; })) out += " [OPTIONS]";
  for (const OptionEntry& o : command.options)
    if (o.positional) {
      const std::string name = upper(o.names.front()) + (o.value.ends_with("...") ? " ..." : "");
      out += " " + (o.required ? name : "[" + name + "]");
    }
  if (!command.children.empty()) out += " COMMAND";
  return out;
}

std::string usage_of(const OptionEntry& o) {
  if (o.positional) return upper(o.names.front());
  std::string out;
  for (const std::string& name : o.names) out += (out.empty() ? "" : ", ") + name;
  return o.value.empty() ? out : out + " " + o.value;
}

std::string options_section(const std::string& title, const std::vector<OptionEntry>& options, bool positional) {
  std::string out;
  for (const OptionEntry& o : options)
    if (o.positional == positional) out += ".TP\n.B " + roff(usage_of(o)) + "\n" + roff(o.help) + "\n";
  return out.empty() ? "" : ".SH " + title + "\n" + out;
}

// A cell of a Markdown table.
std::string cell(std::string text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += "\\|";
    else if (c == '\n') out += "<br>";
    else if (c == '<') out += "&lt;";
    else out += c;
  }
  return out;
}

}  // namespace

std::string man_page(const CommandEntry& command, const std::vector<OptionEntry>& globals, const std::string& version) {
  std::string out = ".TH \"" + upper(command.joined("-")) + "\" 1 \"\" \"r1 " + version + "\" \"r1\"\n";
  out += ".SH NAME\n" + roff(command.joined("-")) + " \\- " + roff(command.summary) + "\n";
  out += ".SH SYNOPSIS\n.B " + roff(synopsis(command)) + "\n";
  out += options_section("ARGUMENTS", command.options, true) + options_section("OPTIONS", command.options, false);
  if (command.path.size() > 1) out += options_section("OPTIONS OF EVERY COMMAND", globals, false);
  if (!command.children.empty()) {
    out += ".SH COMMANDS\n";
    for (const CommandEntry& child : command.children) out += ".TP\n.BR " + roff(child.joined("-")) + " (1)\n" + roff(child.summary) + "\n";
  }
  if (!command.footer.empty()) out += ".SH EXAMPLES\n.nf\n" + roff(command.footer) + "\n.fi\n";
  out += ".SH EXIT STATUS\n0 done, 1 failed at run time, 2 usage or configuration, before any work, 130 interrupted after saving.\n";
  return out;
}

std::string commands_page(const CommandEntry& root) {
  std::string out = "# Commands\n\nWritten by the program (`r1 docs commands`); the same texts are in `r1 COMMAND --help` and `man r1-COMMAND`.\n";
  for (const CommandEntry* command : all_commands(root)) {
    out += "\n## " + command->name() + "\n" + command->summary + "\n\n```text\n" + synopsis(*command) + "\n```\n";
    if (!command->options.empty()) {
      out += "\n| argument or option | meaning |\n|---|---|\n";
      for (const OptionEntry& o : command->options) out += "| `" + cell(usage_of(o)) + "` | " + cell(o.help) + " |\n";
    }
    if (!command->footer.empty()) out += "\n```text\n" + command->footer + "\n```\n";
  }
  return out;
}

}  // namespace r1
