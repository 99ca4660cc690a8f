// What config.json says of the rotary embedding.
#include <limits>
#include <vector>

#include "core/error.h"
#include "model/config_families.h"

namespace r1::detail {
namespace {

using Json = nlohmann::json;

// One rotary embedding: rope_scaling, rope_parameters, or an entry of the latter. Returns theta.
double read_object(const Json& object, const ConfigJson& rope, double theta, ModelConfig& out) {
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (rope.has("type") && rope.text("type", "") != type) rope.refuse("type", "it disagrees with rope_type " + type);
  RopeScaling& s = out.rope_scaling;
  std::vector<std::string> allowed = {"type", "rope_type", "rope_theta", "partial_rotary_factor"};
  const auto original_context = [&] {
    return rope.positive("original_max_position_embeddings", out.max_position_embeddings, std::numeric_limits<std::int32_t>::max());
  };
  if (type == "linear") {
    s.kind = RopeScaling::Kind::kLinear;
    allowed.insert(allowed.end(), {"factor", "original_max_position_embeddings"});
    s.factor = rope.positive_number("factor");
  } else if (type == "llama3") {
    s.kind = RopeScaling::Kind::kLlama3;
    allowed.insert(allowed.end(), {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"});
    s.factor = rope.positive_number("factor");
    s.low_freq_factor = rope.positive_number("low_freq_factor");
    s.high_freq_factor = rope.positive_number("high_freq_factor");
    s.original_max_position_embeddings = original_context();
    if (s.high_freq_factor <= s.low_freq_factor) rope.refuse("high_freq_factor", "it must be above low_freq_factor");
  } else if (type == "yarn") {
    s.kind = RopeScaling::Kind::kYarn;
    allowed.insert(allowed.end(), {"factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
                                   "attention_factor", "truncate"});
    s.factor = rope.positive_number("factor");
    s.original_max_position_embeddings = original_context();
    s.beta_fast = rope.positive_number("beta_fast", 32);
    s.beta_slow = rope.positive_number("beta_slow", 1);
    s.mscale = rope.number("mscale", 0);
    s.mscale_all_dim = rope.number("mscale_all_dim", 0);
    if (rope.has("attention_factor")) s.attention_factor = rope.positive_number("attention_factor");
    s.truncate = rope.flag("truncate", true);
  } else if (type == "longrope") {
    s.kind = RopeScaling::Kind::kLong;
    allowed.insert(allowed.end(), {"factor", "original_max_position_embeddings", "short_factor", "long_factor", "attention_factor"});
    if (rope.has("original_max_position_embeddings")) s.original_max_position_embeddings = original_context();
    if (s.original_max_position_embeddings < 2) rope.refuse("original_max_position_embeddings", "LongRoPE needs it, here or beside it");
    s.factor = rope.positive_number("factor", static_cast<double>(out.max_position_embeddings) / static_cast<double>(s.original_max_position_embeddings));
    if (rope.has("attention_factor")) s.attention_factor = rope.positive_number("attention_factor");
    for (const auto& [key, factors] : {std::pair{"short_factor", &s.short_factors}, {"long_factor", &s.long_factors}}) {
      const auto found = object.find(key);
      if (found == object.end() || !found->is_array()) rope.refuse(key, "a list of numbers is needed");
      for (const Json& value : *found) {
        if (!value.is_number() || value.get<double>() <= 0) rope.refuse(key, "a list of numbers above 0 is needed");
        factors->push_back(value.get<double>());
      }
    }
  } else if (type != "default") {
    rope.refuse(rope.has("rope_type") ? "rope_type" : "type", "supported: default, linear, llama3, yarn, longrope");
  }
  for (const auto& [entry, value] : object.items()) {
    bool known = value.is_null();
    for (const std::string& k : allowed) known = known || k == entry;
    if (!known) rope.refuse(entry, message("this key has no meaning for rope type ", type, " here"));
  }
  return rope.positive_number("rope_theta", theta);
}

void read_partial(const ConfigJson& rope, const Family& family, ModelConfig& out) {
  const double part = rope.number("partial_rotary_factor", 1);
  if (part == 1) return;
  if (!family.honoured.contains("partial_rotary_factor"))
    rope.refuse("partial_rotary_factor", "rotary embedding of a part of the head is not supported for this family");
  out.rotary_dim = static_cast<std::int64_t>(static_cast<double>(out.head_dim) * part);
  if (part < 0 || part > 1 || out.rotary_dim < 2 || out.rotary_dim % 2 != 0)
    rope.refuse("partial_rotary_factor", message("it gives ", out.rotary_dim, " rotated dimensions of ", out.head_dim, "; an even number is needed"));
}

}  // namespace

void read_rope(const Json& config, const Family& family, const ConfigJson& reader, ModelConfig& out) {
  const bool has_new = reader.has("rope_parameters"), has_old = reader.has("rope_scaling");
  if (has_new && has_old && config.at("rope_parameters") != config.at("rope_scaling"))
    reader.refuse("rope_scaling", "it disagrees with rope_parameters; keep one of the two");
  out.rope_theta = reader.positive_number("rope_theta", family.rope_theta);
  read_partial(reader, family, out);
  if (!has_new && !has_old) return;
  if (family.honoured.contains("original_max_position_embeddings") && reader.has("original_max_position_embeddings"))  // of LongRoPE, beside it
    out.rope_scaling.original_max_position_embeddings = reader.positive("original_max_position_embeddings", std::nullopt, std::numeric_limits<std::int32_t>::max());
  const char* key = has_new ? "rope_parameters" : "rope_scaling";
  const Json& object = config.at(key);
  if (!object.is_object()) reader.refuse(key, "an object is needed");
  const ConfigJson rope(object, reader.name(), std::string(key) + ".");

  // Gemma 3's new form holds one object for each kind of layer.
  const bool by_kind = object.contains("full_attention") || object.contains("sliding_attention");
  if (by_kind && family.honoured.contains("rope_local_base_freq")) {
    for (const auto& [kind, value] : object.items()) {
      if (kind != "full_attention" && kind != "sliding_attention") rope.refuse(kind, "known are full_attention and sliding_attention");
      if (!value.is_object()) rope.refuse(kind, "an object is needed");
      const ConfigJson part(value, reader.name(), std::string(key) + "." + kind + ".");
      if (kind == "full_attention") {
        out.rope_theta = read_object(value, part, out.rope_theta, out);
      } else {
        if (part.text("rope_type", "default") != "default") part.refuse("rope_type", "supported here: default");
        ModelConfig ignored = out;
        out.rope_local_theta = read_object(value, part, 10000, ignored);
      }
      read_partial(part, family, out);
    }
    return;
  }
  const double theta = read_object(object, rope, out.rope_theta, out);
  if (reader.has("rope_theta") && theta != out.rope_theta)
    reader.refuse("rope_theta", message("it disagrees with ", key, ".rope_theta ", theta));
  out.rope_theta = theta;
  read_partial(rope, family, out);
  const RopeScaling& s = out.rope_scaling;
  if (s.kind != RopeScaling::Kind::kLong) return;
  const auto pairs = static_cast<std::size_t>((out.mla ? out.mla->qk_rope_head_dim : out.rotary_dim > 0 ? out.rotary_dim : out.head_dim) / 2);
  for (const auto& [name, factors] : {std::pair{"short_factor", &s.short_factors}, {"long_factor", &s.long_factors}})
    if (factors->size() != pairs) rope.refuse(name, message("it has ", factors->size(), " numbers for ", pairs, " rotated pairs"));
}

}  // namespace r1::detail
