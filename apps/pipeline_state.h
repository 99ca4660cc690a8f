// What of a pipeline is done: each stage's key, folder, record and state. docs/pipeline.md says what is in a key.
//
//   DIR/stages/NAME/KEY/   recipe.yaml (as the stage ran: `r1 train|generate|eval` takes it alone), run/ or set/ or eval/, stage.json
//
// Invariants. 1. stage.json is written last, by one rename: a stage with it is finished. 2. A finished stage counts only while the stages it
// needs are finished too and gave what they gave then. 3. A stage's results never leave its folder, so other settings harm nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/input_digests.h"
#include "apps/stage_plan.h"
#include "recipes/pipeline_recipe.h"

namespace r1 {

// stage.json
struct StageRecord {
  std::string key, output;                    // output: digest of the weights, the data set, the results
  std::map<std::string, std::string> inputs;  // stage it needs -> that stage's output then
  double seconds = 0, cpu_seconds = 0;        // of the start that finished it: by the clock, and the processors' (user and system)
  std::string score;                          // for people
};

struct StageState {
  const PipelineStage* stage = nullptr;
  const StageKind* kind = nullptr;
  std::string key;
  std::filesystem::path dir;                // its folder under this key
  std::vector<std::string> lines;           // batch arithmetic
  std::optional<ResolvedConfig> resolved;   // every setting with its default
  std::vector<std::pair<std::string, std::string>> missing;  // inputs that are not there: setting, name
  std::optional<StageRecord> record;        // of this key
  enum class Is { kFinished, kUnfinished, kChangedInput, kDropped, kToDo } is = Is::kToDo;
};
const char* to_string(StageState::Is is);

class PipelineState {
 public:
  // Reads every recipe as its kind does, so that a mistake in the last stage is found before the first runs. Opens no model.
  // `pipeline` outlives it. Throws ConfigError with the stage's name.
  explicit PipelineState(const PipelineRecipe& pipeline);

  const std::vector<StageState>& stages() const { return stages_; }
  const StageState& at(const std::string& name) const;
  void refresh();  // reads the records again

  // The recipe as it runs: references are paths, results go to the stage's folder.
  Config runnable(const StageState& stage) const;
  // The recipe as it can be read for estimates: references are paths where the stage has run, else stand_in()s of it.
  Config plannable(const StageState& stage) const;
  // A name, of its own for each stage, of an empty file that every system has.
  static std::string stand_in(std::size_t stage);
  bool keeps_weights_alone() const { return pipeline_.keep != PipelineRecipe::Keep::kAll; }  // of a finished training
  // Where a stage's checkpoint or output is, whether or not it is there yet.
  std::filesystem::path place(const StageState& stage, const std::string& what) const;
  // Writes the record; then let_go().
  void finish(const StageState& stage, double seconds, double cpu_seconds);
  // Deletes what the rules of output.keep and output.keep_old do not hold of finished stages; also what a stop left undone of it.
  void let_go();
  std::uint64_t bytes_of(const StageState& stage, bool old) const;  // on the disk; old: of other keys

 private:
  void plan(StageState& state, InputDigests& digests) const;
  static bool refers(const StageState& stage, const StageState& to);
  void drop_unneeded();
  const PipelineRecipe& pipeline_;
  std::vector<StageState> stages_;
};

}  // namespace r1
