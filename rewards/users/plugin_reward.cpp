// `plugin: libmine.so:name`.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "core/suggest.h"
#include "rewards/plugin.h"
#include "rewards/users/users.h"
#include "rewards/users/worker_reward.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

// Never unloaded: a reward's threads, statics and exceptions may outlive the reward.
const R1RewardPlugin& load(const std::string& library, ConfigReader& options) {
  std::string path = library;
  std::error_code ignored;
  if (std::filesystem::exists(library, ignored)) path = std::filesystem::absolute(library).string();  // else dlopen looks it up
  else if (library.find('/') != std::string::npos) options.fail("plugin", message("there is no file '", library, "'"));
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* why = dlerror();
    options.fail("plugin", message("'", library, "' cannot be loaded: ", why ? why : "unknown reason"));
  }
  const auto entry = reinterpret_cast<R1RewardPluginEntry>(dlsym(handle, "r1_reward_plugin"));
  if (!entry)
    options.fail("plugin", message("'", library, "' is no reward plug-in: it has no r1_reward_plugin(); see rewards/plugin.h (R1_REWARD_PLUGIN)"));
  const R1RewardPlugin* table = entry();
  if (!table || table->format != 1)
    options.fail("plugin", message("'", library, "' has a plug-in table of format ", table ? table->format : 0, ", this program reads format 1; build it again with this program's headers"));
  if (table->abi != plugin_abi())
    options.fail("plugin", message("'", library, "' was built for another version: it has ", table->abi, "; this program has ", plugin_abi(),
                                   ". Build it again with this program's headers and the same C++ library"));
  return *table;
}

// Runs the plug-in's code; whatever it throws becomes an Error that names it.
template <class F>
auto guarded(const std::string& what, F&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Interrupted&) { throw;
  } catch (const std::exception& e) { throw Error(message(what, " threw: ", e.what()));
  } catch (...) { throw Error(message(what, " threw something that is no std::exception"));
  }
}

class Plugin final : public RewardFunction {
 public:
  Plugin(std::string name, std::string what, std::unique_ptr<RewardFunction> inner, OnError on_error)
      : name_(std::move(name)), what_(std::move(what)), inner_(std::move(inner)), on_error_(on_error) {}

  std::string_view name() const override { return name_; }
  bool judges_answer() const override { return guarded(what_, [&] { return inner_->judges_answer(); }); }
  int concurrency() const override { return guarded(what_, [&] { return inner_->concurrency(); }); }
  std::string check_prompt(const Prompt& prompt) const override { return guarded(what_, [&] { return inner_->check_prompt(prompt); }); }
  std::vector<KnownAnswer> known_answers(const Prompt& prompt) const override {
    return guarded(what_, [&] { return inner_->known_answers(prompt); });
  }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    try {
      guarded(what_, [&] { inner_->score(group, out); });
      check(out);
    } catch (const Interrupted&) { throw;
    } catch (const Error& e) {
      if (on_error_ == OnError::kStop) throw;
      abstain_all(out, Verdict::kError, e.what());
      log_warning("reward.abstained", {{"text", message("reward ", name_, " abstains for ", out.size(), " completions (on_error: abstain): ", e.what())}});
    }
  }

 private:
  void check(std::span<const RewardResult> out) const {
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (out[i].value && !std::isfinite(*out[i].value))
        throw NumericError(message(what_, ", sample ", i, ": the reward is ", *out[i].value, "; it must be a finite number, or none to abstain"));
      if (out[i].verdict > Verdict::kAbstain) throw Error(message(what_, ", sample ", i, ": ", static_cast<int>(out[i].verdict), " is no verdict"));
    }
  }

  std::string name_, what_;
  std::unique_ptr<RewardFunction> inner_;
  OnError on_error_;
};

std::map<std::string, std::string> arguments_of(ConfigReader& options) {
  const std::string text = options.get_json("arguments");
  const Json json = text.empty() ? Json::object() : Json::parse(text);
  if (!json.is_object()) options.fail("arguments", "must be a section of names and values");
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : json.items()) out[name] = value.dump();
  return out;
}

}  // namespace

std::unique_ptr<RewardFunction> make_plugin_reward(ConfigReader& options) {
  const auto spec = options.require<std::string>("plugin");
  const std::size_t colon = spec.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == spec.size())
    options.fail("plugin", message("= ", spec, "; write LIBRARY.so:NAME"));
  const std::string library = spec.substr(0, colon), name = spec.substr(colon + 1);
  const R1RewardPlugin& table = load(library, options);
  const auto end = table.rewards + table.count;
  const auto reward = std::find_if(table.rewards, end, [&](const PluginReward& r) { return name == r.name; });
  if (reward == end) {
    std::vector<std::string> names;
    for (auto r = table.rewards; r != end; ++r) names.emplace_back(r->name);
    const std::string near = nearest_name(name, names);
    options.fail("plugin", message("'", library, "' has no reward '", name, "'", near.empty() ? "" : "; did you mean '" + near + "'?", " It has: ", join_names(names)));
  }
  PluginArguments arguments(arguments_of(options));
  std::unique_ptr<RewardFunction> made;
  try {
    made = guarded("plugin " + spec, [&] { return reward->make(arguments); });
  } catch (const Error& e) {
    options.fail("plugin", e.what());
  }
  if (!made) options.fail("plugin", message("'", name, "' of '", library, "' made no reward"));
  for (const std::string& unread : arguments.unread())
    options.fail("arguments", message("'", name, "' of '", library, "' reads no argument '", unread, "'"));
  return std::make_unique<Plugin>(name, "plugin " + spec, std::move(made), read_on_error(options));
}

}  // namespace r1
