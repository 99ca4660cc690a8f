#include "apps/command_tree.h"

#include <algorithm>

namespace r1 {
namespace {

OptionEntry option_entry(const CLI::Option& option) {
  OptionEntry out;
  for (const std::string& name : option.get_lnames()) out.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) out.names.push_back("-" + name);
  out.positional = out.names.empty();
  if (out.positional) out.names.push_back(option.get_name());
  // A flag's type is empty; what CLI11 adds of a check ("INT:INT in [0 - 4096]") is kept out of the value's name.
  if (option.get_type_size() != 0) {
    const std::string type = option.get_type_name();
    out.value = type.substr(0, type.find(':'));
    const std::size_t range = type.find(" in [");
    if (range != std::string::npos && option.get_description().find('[') == std::string::npos)
      out.help = option.get_description() + " (" + type.substr(range + 4) + ")";
    if (option.get_items_expected_max() > 1) out.value += " ...";
  }
  if (out.help.empty()) out.help = option.get_description();
  out.required = option.get_required();
  return out;
}

CommandEntry entry(const CLI::App& app, std::vector<std::string> path) {
  CommandEntry out;
  out.path = std::move(path);
  out.summary = app.get_description();
  out.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options())
    if (!option->get_group().empty()) out.options.push_back(option_entry(*option));
  std::stable_partition(out.options.begin(), out.options.end(), [](const OptionEntry& o) { return o.positional; });
  for (const CLI::App* child : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (child->get_group().empty()) continue;
    std::vector<std::string> below = out.path;
    below.push_back(child->get_name());
    out.children.push_back(entry(*child, std::move(below)));
  }
  return out;
}

void collect(const CommandEntry& command, std::vector<const CommandEntry*>& out) {
  out.push_back(&command);
  for (const CommandEntry& child : command.children) collect(child, out);
}

}  // namespace

std::string CommandEntry::joined(const std::string& between) const {
  std::string out;
  for (const std::string& part : path) out += (out.empty() ? "" : between) + part;
  return out;
}

CommandEntry command_tree(const CLI::App& app, const std::string& name) { return entry(app, {name}); }

std::vector<const CommandEntry*> all_commands(const CommandEntry& root) {
  std::vector<const CommandEntry*> out;
  collect(root, out);
  return out;
}

}  // namespace r1
