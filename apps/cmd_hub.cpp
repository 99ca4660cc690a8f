// r1 pull and r1 models: the hub's cache.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>

#include "apps/command.h"
#include "apps/hub_files.h"
#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/hub_name.h"
#include "core/json_text.h"
#include "core/signals.h"
#include "model/model_config.h"

namespace r1 {
namespace {

struct Cached {
  std::string name, revision, kind, problem;
  std::filesystem::path path;
  std::uint64_t bytes = 0;
};

// "models--org--name" -> "org/name"
std::string name_of(const std::string& folder, const std::string& head) {
  std::string name = folder.substr(head.size());
  if (const std::size_t at = name.find("--"); at != std::string::npos) name.replace(at, 2, "/");
  return name;
}

std::vector<Cached> cached() {
  namespace fs = std::filesystem;
  std::vector<Cached> out;
  std::error_code none;
  for (const fs::path& cache : hub_caches())
    for (const auto& entry : fs::directory_iterator(cache, none)) {
      const std::string folder = entry.path().filename().string();
      const bool model = folder.starts_with("models--");
      if (!model && !folder.starts_with("datasets--")) continue;
      for (const auto& snapshot : fs::directory_iterator(entry.path() / "snapshots", none)) {
        Cached c;
        c.name = (model ? "" : "hf://") + name_of(folder, model ? "models--" : "datasets--");
        c.revision = snapshot.path().filename().string();
        c.path = snapshot.path();
        for (const auto& file : fs::recursive_directory_iterator(snapshot.path(), none)) {
          if (!fs::exists(file.path(), none)) c.problem = message(file.path().filename().string(), " is missing");
          else if (fs::is_regular_file(file.path(), none)) c.bytes += fs::file_size(file.path(), none);
        }
        c.kind = "data";
        if (model) {
          c.kind = "?";
          try {
            const ModelConfig config = ModelConfig::load(snapshot.path());
            c.kind = message(config.model_type, ", ", human_count(static_cast<double>(config.num_parameters())));
          } catch (const Error& e) {
            if (c.problem.empty()) c.problem = e.what();
          }
        }
        out.push_back(std::move(c));
      }
    }
  std::sort(out.begin(), out.end(), [](const Cached& a, const Cached& b) { return a.name < b.name; });
  return out;
}

void list(bool json) {
  const std::vector<Cached> all = cached();
  if (json) {
    std::string out = "[";
    for (const Cached& c : all)
      out += message(out.size() > 1 ? ",\n " : "", "{\"name\":", json_quote(c.name), ",\"revision\":", json_quote(c.revision), ",\"kind\":", json_quote(c.kind), ",\"bytes\":", c.bytes,
                     ",\"path\":", json_quote(c.path.string()), ",\"problem\":", json_quote(c.problem), "}");
    std::printf("%s]\n", out.c_str());
    return;
  }
  if (all.empty()) {
    std::string places;
    for (const auto& cache : hub_caches()) places += (places.empty() ? "" : ", ") + cache.string();
    std::printf("nothing is downloaded (looked in %s); r1 pull org/model\n", places.c_str());
    return;
  }
  Table table({"name", "kind", "revision", "size", "path or problem"});
  for (const Cached& c : all) table.add_row({c.name, c.kind, c.revision.substr(0, 12), human_bytes(c.bytes), c.problem.empty() ? c.path.string() : "problem: " + c.problem});
  std::printf("%s", table.str().c_str());
}

}  // namespace

void add_hub(CLI::App& app, const Globals& globals, int&) {
  struct Args {
    std::string name;
    std::vector<std::string> include;
    bool json = false;
  };
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("pull", "download a model or a data set of the Hugging Face hub into its cache");
  cmd->add_option("name", args->name, "org/model, org/model@revision, or hf://org/data[/configuration][?split=test]")->required();
  cmd->add_option("--include", args->include, "files or patterns (default: what r1 reads)")->delimiter(',');
  cmd->footer("Example: r1 pull Qwen/Qwen2.5-0.5B\nHF_HOME, HF_TOKEN, HF_ENDPOINT (a mirror) and HF_HUB_OFFLINE are kept to; a download that was cut off goes on.");
  cmd->callback([args, &globals] {
    install_stop_signals();
    std::printf("%s\n", pull_from_hub(args->name, args->include, globals.quiet).c_str());
  });
  cmd = app.add_subcommand("models", "what of the hub is downloaded: names that model.path and data.path know without a network");
  cmd->add_flag("--json", args->json, "one JSON array");
  cmd->footer("Example: r1 models");
  cmd->callback([args] { list(args->json); });
}

}  // namespace r1
