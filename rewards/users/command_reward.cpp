// `command: ./score`.
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <unistd.h>

#include "core/error.h"
#include "rewards/users/users.h"
#include "rewards/users/worker_reward.h"

namespace r1 {
namespace {

bool found(const std::string& program) {
  if (program.find('/') != std::string::npos) return access(program.c_str(), X_OK) == 0;
  const char* set = std::getenv("PATH");
  const std::string path = set ? set : "/usr/bin:/bin";
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find(':', start), path.size());
    const std::string dir = path.substr(start, end - start);
    if (access(((dir.empty() ? "." : dir) + "/" + program).c_str(), X_OK) == 0) return true;
    start = end + 1;
  }
  return false;
}

// One text that asks for nothing of the shell's: its words. Otherwise empty.
std::vector<std::string> plain_words(const std::string& command) {
  if (command.find_first_of("$`\"'\\;&|<>(){}[]*?=~!#\n") != std::string::npos) return {};
  std::istringstream in(command);
  return {std::istream_iterator<std::string>(in), {}};
}

}  // namespace

std::unique_ptr<RewardFunction> make_command_reward(ConfigReader& options) {
  WorkerPool::Options pool;
  auto words = options.require<std::vector<std::string>>("command");
  if (words.empty() || words[0].empty()) options.fail("command", "is empty; name a program that reads and writes JSON lines");
  pool.what = "command " + words[0] + (words.size() > 1 ? " ..." : "");
  if (words.size() == 1) {
    const std::string text = words[0];
    words = plain_words(text);
    if (words.empty()) words = {"/bin/sh", "-c", text};
  }
  if (!found(words[0])) {
    if (words[0].find('/') != std::string::npos && std::filesystem::exists(words[0]))
      options.fail("command", message("'", words[0], "' is not executable; chmod +x it, or put its interpreter before it: python3 ", words[0]));
    options.fail("command", message("there is no program '", words[0], "'"));
  }
  pool.argv = words;
  const OnError on_error = read_on_error(options);
  read_worker_options(options, 60, pool);
  pool.hello = write_request(0, {});
  pool.check_hello = [](const std::string& line) {
    try {
      std::vector<RewardResult> none;
      fill_results(parse_reply(line, 0), none);
    } catch (const Error& e) {
      throw Error(message("the first request has no completions and asks whether the command works; the answer must be "
                          "{\"id\": 0, \"rewards\": []}. ", e.what()));
    }
  };
  try {
    return std::make_unique<WorkerReward>("command", std::move(pool), on_error);
  } catch (const Error& e) {
    options.fail("command", e.what());
  }
}

}  // namespace r1
