// Who gives samples: teachers (a model with its prompts and settings) and the engines that run it, several at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/types.h"
#include "rollout/engine.h"

namespace r1 {

// One completion as a teacher gave it.
struct Drawn {
  std::string text;                // special tokens left out; a stop string is cut off
  std::string stop_text;           // the stop string that ended it
  StopReason stop = StopReason::kAborted;
  std::vector<TokenId> tokens;     // empty where a server does not tell them
  std::int64_t num_tokens = -1;    // -1: not known
  std::optional<double> logprob;   // nats, of the whole completion, under the distribution it was drawn from
  std::string digest;              // of the weights, 32 hex digits; "" = not known
  std::string error;               // why there is no completion: the teacher refused the prompt (stop is kAborted)
};

// Samples [first, first + count) of one prompt.
struct Work {
  std::size_t prompt = 0;
  int first = 0, count = 0;
};

// Where an engine gets work and leaves its results. Thread-safe.
class WorkSource {
 public:
  virtual ~WorkSource() = default;
  // At most `most` samples of one prompt. With `wait`, nothing means that all is done; without, that nothing waits now (what
  // another engine holds may come back). Nothing also once the work shall stop.
  virtual std::optional<Work> next(bool wait, int most) = 0;
  // Keeps the sample; throws Interrupted after a stop signal, IoError.
  virtual void done(std::size_t prompt, int sample, Drawn drawn) = 0;
};

// One place that draws samples: a model in this process, a server.
class SampleEngine {
 public:
  virtual ~SampleEngine() = default;
  virtual std::string name() const = 0;  // for messages
  // On a thread of its own, until there is no more work. A throw means that this engine is out of order: others of the same
  // teacher take over what it had.
  virtual void run(WorkSource& work) = 0;
};

struct SampleTeacher {
  std::string name;                     // a path, or what its server calls it; stands in provenance
  bool local = true;                    // in this process: its samples can be drawn again
  std::string dtype;                    // local: bfloat16, float32
  std::string prompt_template = "chat", template_digest, template_variables;  // digest of the template's text; "" = the server's
  SamplingOptions sampling;
  int samples = 1;                      // a prompt
  std::vector<Prompt> prompts;          // rendered for this teacher; the same ids in the same order for all teachers
  std::vector<std::unique_ptr<SampleEngine>> engines;
};

}  // namespace r1
