#include "proto/serve_metrics.h"

#include "core/json_text.h"

namespace r1 {
namespace {

class Text {
 public:
  void family(const char* name, const char* type, const char* help) { text += message_of("# HELP ", name, help) + message_of("# TYPE ", name, type); }
  void line(const std::string& series, double value) { text += series + " " + json_number(value) + "\n"; }
  void single(const char* name, const char* type, const char* help, double value) {
    family(name, type, help);
    line(name, value);
  }
  std::string text;

 private:
  static std::string message_of(const char* word, const char* name, const char* rest) { return std::string(word) + name + " " + rest + "\n"; }
};

}  // namespace

std::string prometheus_text(const EngineLoopCounts& c, const EngineStats& e, WeightVersion version) {
  Text t;
  t.family("r1_calls_total", "counter", "Generation calls that ended, by outcome; full: refused for the limit or a shutdown.");
  const auto calls = [&](const char* outcome, std::int64_t n) {
    t.line(std::string("r1_calls_total{outcome=\"") + outcome + "\"}", static_cast<double>(n));
  };
  calls("finished", c.finished), calls("cancelled", c.cancelled), calls("refused", c.refused), calls("failed", c.failed), calls("full", c.full);
  t.single("r1_calls_active", "gauge", "Generation calls in progress.", c.active);
  t.family("r1_first_token_seconds", "histogram", "Time from a call's arrival to its first token, queueing included.");
  std::int64_t below = 0;
  for (std::size_t i = 0; i < c.kBounds.size(); ++i)
    t.line("r1_first_token_seconds_bucket{le=\"" + json_number(c.kBounds[i]) + "\"}", static_cast<double>(below += c.first_token[i]));
  below += c.first_token.back();
  t.line("r1_first_token_seconds_bucket{le=\"+Inf\"}", static_cast<double>(below));
  t.line("r1_first_token_seconds_sum", c.first_token_s);
  t.line("r1_first_token_seconds_count", static_cast<double>(below));
  t.single("r1_prompt_tokens_total", "counter", "Prompt tokens taken in.", static_cast<double>(e.prompt_tokens));
  t.single("r1_cached_prompt_tokens_total", "counter", "Prompt tokens found in the cache.", static_cast<double>(e.cached_prompt_tokens));
  t.single("r1_generated_tokens_total", "counter", "Tokens drawn.", static_cast<double>(e.generated_tokens));
  t.single("r1_decode_steps_total", "counter", "Steps of the engine.", static_cast<double>(e.decode_steps));
  t.single("r1_decode_rows_total", "counter", "Samples in those steps, summed.", static_cast<double>(e.decode_rows));
  t.single("r1_preemptions_total", "counter", "Samples put back for want of KV blocks.", static_cast<double>(e.preemptions));
  t.single("r1_busy_seconds_total", "counter", "Time the engine computed.", e.busy_s);
  t.single("r1_kv_blocks", "gauge", "KV blocks the engine has.", static_cast<double>(e.kv_blocks));
  t.single("r1_kv_blocks_peak", "gauge", "Most KV blocks in use at once.", static_cast<double>(e.kv_blocks_peak));
  t.single("r1_weight_version", "gauge", "Version of the weights.", static_cast<double>(version));
  return t.text;
}

}  // namespace r1
