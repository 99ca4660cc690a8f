// The command line as data, read from CLI11's objects: what man pages, shell completions and the site's command page are written from.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace r1 {

struct OptionEntry {
  std::vector<std::string> names;  // "--level", "-l"; of a positional its one name, without dashes
  std::string value;               // "INT"; empty = a flag
  std::string help;
  bool positional = false, required = false;
};

struct CommandEntry {
  std::vector<std::string> path;  // "r1", "bench", "rollout"
  std::string summary, footer;
  std::vector<OptionEntry> options;
  std::vector<CommandEntry> children;  // in the order they were added; hidden ones (group "") are left out

  std::string name() const { return joined(" "); }
  std::string joined(const std::string& between) const;
};

CommandEntry command_tree(const CLI::App& app, const std::string& name);
// The command itself and all below it, parents first.
std::vector<const CommandEntry*> all_commands(const CommandEntry& root);

// roff for `man`; `globals`: options that every command takes.
std::string man_page(const CommandEntry& command, const std::vector<OptionEntry>& globals, const std::string& version);
// Scripts for the shells, to be installed as r1 (bash), _r1 (zsh) and r1.fish. Options of the root are offered everywhere.
std::string bash_completion(const CommandEntry& root);
std::string zsh_completion(const CommandEntry& root);
std::string fish_completion(const CommandEntry& root);
// A page of Markdown with every command's options.
std::string commands_page(const CommandEntry& root);

}  // namespace r1
