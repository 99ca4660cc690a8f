#include "apps/run_tokenizer.h"

#include "apps/hub_files.h"
#include "apps/runtime.h"
#include "core/error.h"

namespace r1 {

std::shared_ptr<const Tokenizer> run_tokenizer(const RecordedRun& run) {
  try {
    const std::filesystem::path own = run.path() / "checkpoints" / "latest";
    return load_tokenizer(std::filesystem::exists(own / "tokenizer.json") ? own : find_model(run.config().peek("model.path").value_or("")));
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace r1
