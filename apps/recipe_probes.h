// Every key of every kind of recipe, by reading small recipes while core/config_recorder.h takes notes.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/config_recorder.h"

namespace r1 {

struct RecipeKey {
  ConfigQuestion question;                                  // of the first reader that asked
  std::map<std::string, std::vector<std::string>> defaults;  // value as written -> kinds of recipes, in order
  std::vector<std::string> kinds;                           // that ask for it in any setting
};

struct RecipeKeys {
  std::vector<std::string> kinds;                                       // in the order of the page
  std::map<std::string, RecipeKey> keys;                                // dotted path, "rewards[].weight"; without rewards' own options
  std::map<std::string, std::map<std::string, RecipeKey>> rewards;      // reward -> its options
};

// `some_file`: any file that exists; it stands for data and is not read.
RecipeKeys probe_recipes(const std::filesystem::path& some_file);

}  // namespace r1
