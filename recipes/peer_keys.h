// What settings of TRL, open-r1 and verl are called here: for hints where a recipe has one of them, and for `--from-trl`.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace r1 {

struct PeerKey {
  std::string_view theirs;   // "num_generations"
  std::string_view toolkit;  // "TRL", "verl", ...
  std::string_view ours;     // dotted path; empty = there is no such setting
  std::string_view note;     // how the value changes, or why there is none; may be empty
};
std::span<const PeerKey> peer_keys();
const PeerKey* find_peer_key(std::string_view theirs);  // null if it is not known
std::string peer_key_text(const PeerKey& key);          // "num_generations is TRL's name; here it is rollout.samples_per_prompt"

}  // namespace r1
