// What a learner does when a pass does not fit into the GPU's memory: smaller micro-batches, for good.
#pragma once

#include <cstdint>
#include <functional>

#include "core/error.h"
#include "core/log.h"
#include "model/gpu/gpu_region.h"

namespace r1 {

// Runs `work`; on GpuOutOfMemory halves the budget and runs it again. `alone()`: each sample is in a micro-batch of its own already;
// then the error leaves, with `remedy` behind it. `update` is named in the log.
template <class Work>
auto halving_micro_batches(std::int64_t& tokens_per_micro_batch, std::int64_t update, const std::function<bool()>& alone, const char* remedy,
                           Work&& work) -> decltype(work()) {
  for (;;) {
    try {
      return work();
    } catch (const GpuOutOfMemory& e) {
      if (tokens_per_micro_batch < 2 || alone())
        throw GpuOutOfMemory(message(e.what(), " (each sample is in a micro-batch of its own already: ", remedy, ")"));
      tokens_per_micro_batch /= 2;
      log_warning("learner.out_of_memory", {{"text", message("update ", update, " did not fit into the GPU's memory; it is done again with ",
                                                             tokens_per_micro_batch, " tokens a micro-batch, as is the rest of the run")},
                                            {"tokens_per_micro_batch", tokens_per_micro_batch}, {"cause", e.what()}});
    }
  }
}

}  // namespace r1
