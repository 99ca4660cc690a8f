// Completion scripts for bash, zsh and fish.
#include "apps/command_tree.h"

namespace r1 {
namespace {

// Inside single quotes of a shell.
std::string shell_quoted(const std::string& text, const std::string& quote_as = "'\\''") {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += quote_as;
    else if (c == '\n') out += ' ';
    else out += c;
  }
  return out + "'";
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::vector<const OptionEntry*> offered(const CommandEntry& command, const CommandEntry& root) {
  std::vector<const OptionEntry*> out;
  for (const CommandEntry* from : {&command, &root}) {
    for (const OptionEntry& o : from->options) {
      const bool twice = o.names.front() == "--help" && from != &command;
      if (!o.positional && !twice) out.push_back(&o);
    }
    if (&command == &root) break;
  }
  return out;
}

// "bench rollout", without the program's own name.
std::string below_root(const CommandEntry& command) {
  std::string out;
  for (std::size_t i = 1; i < command.path.size(); ++i) out += (i > 1 ? " " : "") + command.path[i];
  return out;
}

}  // namespace

std::string bash_completion(const CommandEntry& root) {
  std::string commands, words, values;
  for (const CommandEntry* c : all_commands(root)) {
    std::string children, options, with_value;
    for (const CommandEntry& child : c->children) children += (children.empty() ? "" : " ") + child.path.back();
    for (const OptionEntry* o : offered(*c, root))
      for (const std::string& name : o->names) {
        options += (options.empty() ? "" : " ") + name;
        if (!o->value.empty()) with_value += (with_value.empty() ? "" : "|") + name;
      }
    const std::string label = shell_quoted(below_root(*c));
    commands += "    " + label + ") commands=" + shell_quoted(children) + "; options=" + shell_quoted(options) + " ;;\n";
    if (!with_value.empty()) values += "    " + label + ") case $prev in " + with_value + ") takes_value=1 ;; esac ;;\n";
  }
  return "# bash completion for r1, written by `r1 docs completions`.\n"
         "_r1() {\n"
         "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= commands= options= takes_value= word i\n"
         "  _r1_lists() {\n    case $path in\n" + commands + "    esac\n  }\n"
         "  _r1_lists\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    word=${COMP_WORDS[i]}\n"
         "    if [[ \" $commands \" == *\" $word \"* ]]; then path=${path:+$path }$word; _r1_lists; fi\n"
         "  done\n"
         "  case $path in\n" + values + "  esac\n"
         "  if [[ -n $takes_value ]]; then COMPREPLY=($(compgen -f -- \"$cur\"))\n"
         "  elif [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
         "  elif [[ -n $commands ]]; then COMPREPLY=($(compgen -W \"$commands\" -- \"$cur\"))\n"
         "  else COMPREPLY=($(compgen -f -- \"$cur\"))\n"
         "  fi\n"
         "}\n"
         "complete -o filenames -F _r1 r1\n";
}

std::string zsh_completion(const CommandEntry& root) {
  // _describe takes "name:what it is"; colons in names there are none.
  std::string cases;
  for (const CommandEntry* c : all_commands(root)) {
    cases += "    " + shell_quoted(below_root(*c)) + ")\n      commands=(";
    for (const CommandEntry& child : c->children) cases += "\n        " + shell_quoted(child.path.back() + ":" + first_line(child.summary));
    cases += ")\n      options=(";
    for (const OptionEntry* o : offered(*c, root))
      for (const std::string& name : o->names) cases += "\n        " + shell_quoted(name + ":" + first_line(o->help));
    cases += ") ;;\n";
  }
  return "#compdef r1\n# zsh completion for r1, written by `r1 docs completions`.\n"
         "_r1_lists() {\n  case $1 in\n" + cases + "  esac\n}\n"
         "_r1() {\n"
         "  local -a commands options\n"
         "  local path_so_far= word i\n"
         "  _r1_lists \"\"\n"
         "  for ((i = 2; i < CURRENT; i++)); do\n"
         "    word=$words[i]\n"
         "    if (( ${commands[(I)$word:*]} )); then path_so_far=${path_so_far:+$path_so_far }$word; _r1_lists \"$path_so_far\"; fi\n"
         "  done\n"
         "  if [[ $PREFIX == -* ]]; then _describe option options\n"
         "  elif (( $#commands )); then _describe command commands\n"
         "  else _files\n"
         "  fi\n"
         "}\n"
         "_r1 \"$@\"\n";
}

std::string fish_completion(const CommandEntry& root) {
  std::string out = "# fish completion for r1, written by `r1 docs completions`.\n";
  for (const CommandEntry* c : all_commands(root)) {
    std::string condition, names;
    for (std::size_t i = 1; i < c->path.size(); ++i) condition += (i > 1 ? "; and " : "") + std::string("__fish_seen_subcommand_from ") + c->path[i];
    for (const CommandEntry& child : c->children) names += (names.empty() ? "" : " ") + child.path.back();
    if (!c->children.empty()) {
      const std::string when = condition + (condition.empty() ? "" : "; and ") + "not __fish_seen_subcommand_from " + names;
      for (const CommandEntry& child : c->children)
        out += "complete -c r1 -f -n " + shell_quoted(when, "\\'") + " -a " + child.path.back() + " -d " + shell_quoted(first_line(child.summary), "\\'") + "\n";
    }
    for (const OptionEntry& o : c->options) {
      if (o.positional) continue;
      std::string line = "complete -c r1";
      if (!condition.empty()) line += " -n " + shell_quoted(condition, "\\'");
      for (const std::string& name : o.names) line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      out += line + (o.value.empty() ? "" : " -r") + " -d " + shell_quoted(first_line(o.help), "\\'") + "\n";
    }
  }
  return out;
}

}  // namespace r1
