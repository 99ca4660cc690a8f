#include <nlohmann/json.hpp>

#include "core/error.h"
#include "model/checkpoint.h"

namespace r1 {
namespace {

using nlohmann::json;

constexpr int kFormat = 1;

template <class T>
T field(const json& object, const char* key, const std::string& name) {
  const auto it = object.find(key);
  if (it == object.end()) throw CheckpointError(message(name, ": ", key, " is missing"));
  constexpr bool kNumber = std::is_unsigned_v<T>;
  if (kNumber ? !it->is_number_unsigned() : !it->is_string())
    throw CheckpointError(message(name, ": ", key, " is ", it->dump(), "; ", kNumber ? "a whole number from 0" : "a text", " is needed"));
  return it->get<T>();
}

}  // namespace

std::string CheckpointState::to_json() const {
  const json object = {{"format", kFormat},       {"stage", stage},     {"step", step},
                       {"version", version},      {"seed", seed},       {"data_cursor", data_cursor},
                       {"rollout", rollout},      {"config_digest", config_digest},
                       {"plan", plan},            {"extra", extra}};
  return object.dump(2) + "\n";
}

CheckpointState CheckpointState::from_json(std::string_view text, const std::string& name) {
  json object;
  try {
    object = json::parse(text);
  } catch (const json::exception& e) {
    throw CheckpointError(message(name, ": not valid JSON (", e.what(), ")"));
  }
  if (!object.is_object()) throw CheckpointError(message(name, ": a JSON object is needed"));
  if (object.value("format", json()) != kFormat)
    throw CheckpointError(message(name, ": format ", object.value("format", json()).dump(), ", this program reads ", kFormat));
  CheckpointState s;
  s.stage = field<std::string>(object, "stage", name);
  s.step = field<std::uint64_t>(object, "step", name);
  s.version = field<std::uint64_t>(object, "version", name);
  s.seed = field<std::uint64_t>(object, "seed", name);
  s.data_cursor = field<std::uint64_t>(object, "data_cursor", name);
  s.rollout = field<std::uint64_t>(object, "rollout", name);
  s.config_digest = field<std::string>(object, "config_digest", name);
  s.plan = field<std::string>(object, "plan", name);
  const json extra = object.value("extra", json::object());
  if (!extra.is_object()) throw CheckpointError(message(name, ": extra is not an object"));
  for (const auto& [key, value] : extra.items()) s.extra[key] = field<std::string>(extra, key.c_str(), name + ": extra");
  return s;
}

}  // namespace r1
