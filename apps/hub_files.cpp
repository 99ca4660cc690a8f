#include "apps/hub_files.h"

#include <algorithm>

#include <fnmatch.h>

#include "core/error.h"
#include "core/format.h"
#include "core/hub_name.h"
#include "core/terminal.h"
#include "hub/hub_client.h"
#include "model/hf_directory.h"
#include "recipes/pipeline_recipe.h"

namespace r1 {

std::filesystem::path pull_from_hub(const std::string& name, const std::vector<std::string>& include, bool quiet) {
  auto parsed = parse_hub_data(name);
  if (!parsed) parsed = parse_hub_model(name);
  if (!parsed) throw ConfigError(message("'", name, "' is no name of the hub; write org/model, org/model@revision or hf://org/data"));
  Terminal::Options screen;
  screen.quiet = quiet;
  Terminal terminal(screen);
  HubClient client(hub_options_from_environment());
  const auto choose = [&](const HubListing& listing) {
    if (include.empty()) return parsed->dataset ? select_data_files(listing.files, *parsed) : choose_model_files(listing, *parsed);
    std::vector<std::string> files;
    for (const std::string& file : listing.files)
      if (std::any_of(include.begin(), include.end(), [&](const std::string& p) { return fnmatch(p.c_str(), file.c_str(), 0) == 0; })) files.push_back(file);
    if (files.empty()) throw ConfigError(message("--include matches none of the ", listing.files.size(), " files of ", parsed->id));
    return files;
  };
  std::string last;
  const std::filesystem::path dir = client.pull(*parsed, choose, [&](const HubProgress& p) {
    if (p.file != last && !terminal.interactive()) terminal.print(message("downloading ", p.file, " (", human_bytes(p.total), ", ", p.number, " of ", p.files, ")"));
    last = p.file;
    terminal.set_status(message(p.number, "/", p.files, "  ", p.file, "  ", human_bytes(p.bytes), " of ", human_bytes(p.total)));
  });
  terminal.set_status("");
  return dir;
}

std::filesystem::path find_model(const std::string& name) {
  std::error_code none;
  try {
    return resolve_model(name);
  } catch (const CheckpointError& e) {
    const auto parsed = parse_hub_model(name);
    // "models/x" is more likely a folder that is missing here than a name of the hub.
    const std::string first = name.substr(0, name.find('/'));
    if (!parsed || name.find('/') == std::string::npos || std::filesystem::exists(name, none) || std::filesystem::is_directory(first, none) || first == "models" || first == "runs") throw;
    try {
      pull_from_hub(name, {}, false);
    } catch (const ConfigError& why) {
      throw CheckpointError(message(e.what(), ". Not downloaded: ", why.what()));
    } catch (const IoError& why) {
      throw CheckpointError(message(e.what(), ". Not downloaded: ", why.what()));
    }
  }
  return resolve_model(name);
}

void fetch_hub_data(const Config& config) {
  ConfigValue root = config.root();
  for_each_value(root, [&](const std::string&, ConfigValue& value) {
    if (!value.text.starts_with("hf://")) return;
    const auto name = parse_hub_data(value.text);
    try {
      cached_data_files(*name, hub_caches());
    } catch (const DataError&) {
      pull_from_hub(value.text, {}, false);
    }
  });
}

}  // namespace r1
