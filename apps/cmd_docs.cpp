// r1 docs: what the program says of itself, for packages and the documentation. Not listed in --help: users read the results.
#include <cstdio>

#include "apps/command.h"
#include "apps/command_tree.h"
#include "apps/recipe_page.h"
#include "core/error.h"
#include "core/files.h"
#include "core/version.h"

namespace r1 {

void add_docs(CLI::App& app, const Globals&, int&) {
  CLI::App* cmd = app.add_subcommand("docs", "man pages, shell completions and generated pages of the documentation")->group("");
  cmd->require_subcommand(1);
  auto folder = std::make_shared<std::string>();
  const auto sub = [&](const char* name, const char* summary, auto work) {
    CLI::App* made = cmd->add_subcommand(name, summary);
    made->add_option("folder", *folder, "where the files go")->required();
    made->callback([&app, folder, work] {
      make_directories(*folder);
      work(command_tree(app, "r1"), std::filesystem::path(*folder));
    });
  };
  sub("man", "a man page a command", [](const CommandEntry& root, const std::filesystem::path& out) {
    for (const CommandEntry* c : all_commands(root)) write_file_atomic(out / (c->joined("-") + ".1"), man_page(*c, root.options, version()));
  });
  sub("completions", "scripts for bash, zsh and fish", [](const CommandEntry& root, const std::filesystem::path& out) {
    write_file_atomic(out / "r1.bash", bash_completion(root));
    write_file_atomic(out / "_r1", zsh_completion(root));
    write_file_atomic(out / "r1.fish", fish_completion(root));
  });
  CLI::App* commands = cmd->add_subcommand("commands", "a page of all commands, to standard output");
  CLI::App* recipe = cmd->add_subcommand("recipe", "a page of all recipe keys, to standard output; what it lacks, to standard error");
  auto meanings = std::make_shared<std::string>();
  recipe->add_option("meanings", *meanings, "YAML file: key: what it means")->required();
  recipe->callback([meanings] {
    std::string notes;
    std::fputs(recipe_page(*meanings, notes).c_str(), stdout);
    std::fputs(notes.c_str(), stderr);
  });
  commands->callback([&app] { std::fputs(commands_page(command_tree(app, "r1")).c_str(), stdout); });
}

}  // namespace r1
