// `python: my_rewards.py:brevity`.
#include <array>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/suggest.h"
#include "rewards/users/python_worker.h"
#include "rewards/users/users.h"
#include "rewards/users/worker_reward.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

// What a worker says of the function once it is loaded.
struct Signature {
  std::mutex mutex;  // a restarted worker says it again
  std::vector<std::string> required;
};

void read_ready(const std::string& line, Signature& signature) {
  const Json reply = Json::parse(line, nullptr, false);
  if (reply.is_object() && reply.contains("error")) {
    std::string text = reply["error"].get<std::string>();
    if (reply.contains("traceback")) text += "\n" + reply["traceback"].get<std::string>();
    throw Error(text);
  }
  if (!reply.is_object() || !reply.value("ready", false)) throw Error("the interpreter does not answer as Python 3.8 or later would: '" + line.substr(0, 200) + "'");
  const std::lock_guard lock(signature.mutex);
  signature.required = reply["required"].get<std::vector<std::string>>();
}

class PythonReward final : public WorkerReward {
 public:
  PythonReward(std::string name, WorkerPool::Options options, OnError on_error, std::shared_ptr<Signature> signature)
      : WorkerReward(std::move(name), std::move(options), on_error), signature_(std::move(signature)) {}

  std::string check_prompt(const Prompt& prompt) const override {
    const std::lock_guard lock(signature_->mutex);
    for (const std::string& name : signature_->required) {
      if (prompt.columns.contains(name)) continue;
      std::vector<std::string> columns;
      for (const auto& [column, value] : prompt.columns) columns.push_back(column);
      return message("the function needs the column '", name, "'; this row has: ", join_names(columns));
    }
    return {};
  }

 private:
  std::shared_ptr<Signature> signature_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_python_reward(ConfigReader& options) {
  const auto spec = options.require<std::string>("python");
  const std::size_t colon = spec.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == spec.size())
    options.fail("python", message("= ", spec, "; write FILE.py:FUNCTION or MODULE:FUNCTION"));
  const std::string source = spec.substr(0, colon), function = spec.substr(colon + 1);
  const bool file = source.ends_with(".py");
  if (!file && source.find('/') != std::string::npos)
    options.fail("python", message("'", source, "' is no .py file; write FILE.py:FUNCTION or MODULE:FUNCTION"));
  if (file && !std::filesystem::is_regular_file(source)) options.fail("python", message("there is no file '", source, "'"));

  WorkerPool::Options pool;
  pool.what = "python " + spec;
  pool.argv = {options.get<std::string>("interpreter", "python3"), "-u", "-c", kPythonWorker};
  const std::string conversational = options.get_choice("conversational", "auto", std::array<std::string, 3>{"auto", "true", "false"});
  const std::string arguments = options.get_json("arguments");
  const Json parsed = arguments.empty() ? Json::object() : Json::parse(arguments);
  if (!parsed.is_object()) options.fail("arguments", "must be a section of names and values");
  const OnError on_error = read_on_error(options);
  read_worker_options(options, 300, pool);  // an import of torch or transformers takes a while on a cold disk
  pool.hello = Json{{"source", source}, {"function", function}, {"conversational", conversational}, {"arguments", parsed}}.dump();
  auto signature = std::make_shared<Signature>();
  pool.check_hello = [signature](const std::string& line) { read_ready(line, *signature); };
  try {
    return std::make_unique<PythonReward>(function, std::move(pool), on_error, signature);
  } catch (const Error& e) {
    options.fail("python", e.what());
  }
}

}  // namespace r1
