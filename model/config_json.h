// Reads config.json key by key, with errors that name file, key and value; internal to model/.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/types.h"

namespace r1::detail {

// Every getter throws CheckpointError for a value of the wrong type or out of range. A key that is absent or null gives
// the default. The object outlives the reader.
class ConfigJson {
 public:
  ConfigJson(const nlohmann::json& object, std::string name, std::string prefix = "");

  bool has(const char* key) const;  // there and not null
  // 1 to `limit`; a larger value is damage, and would make the sizes computed from it overflow.
  const std::string& name() const { return name_; }
  std::int64_t whole(const char* key, std::optional<std::int64_t> missing, std::int64_t low, std::int64_t limit) const;
  std::int64_t positive(const char* key, std::optional<std::int64_t> missing = std::nullopt, std::int64_t limit = 1 << 24) const;
  double positive_number(const char* key, std::optional<double> missing = std::nullopt) const;
  double number(const char* key, double missing) const;
  bool flag(const char* key, bool missing) const;
  std::string text(const char* key, const std::string& missing) const;
  std::optional<TokenId> token(const char* key) const;
  std::vector<TokenId> tokens(const char* key) const;  // an integer or a list

  // "NAME: KEY is VALUE; WHY"
  [[noreturn]] void refuse(const std::string& key, const std::string& why) const;

 private:
  const nlohmann::json& object_;
  std::string name_, prefix_;
};

// Throws CheckpointError for a key that changes the computation in a way we do not honour. A key that we do not know is
// refused if its name speaks of the computation and its value turns something on. `honoured` are the keys that the family reads.
void refuse_unsupported_keys(const nlohmann::json& config, const ConfigJson& reader, const std::set<std::string>& honoured = {});

}  // namespace r1::detail
