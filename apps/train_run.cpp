#include "apps/train_run.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/machine.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"

namespace r1 {
namespace {

Terminal::Options screen_options(const TrainRequest& request) {
  Terminal::Options options;
  options.quiet = request.globals.quiet;
  if (request.session && request.session->rank() != 0) {
    options.descriptor = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    options.interactive = false;
  }
  return options;
}

// The cores of this machine are shared by its ranks.
int threads_of(const TrainRequest& request, int wanted) {
  if (wanted > 0 || !request.session) return wanted;
  return std::max(1, usable_cores() / request.session->launch().local_world);
}

}  // namespace

TrainRun::TrainRun(const TrainRequest& request, Setup setup)
    : setup_(std::move(setup)), request_(request), terminal_(screen_options(request)),
      ranks_(request.session, setup_.ranks.lanes, setup_.ranks.tensor_parallel, setup_.ranks.sequence_parallel, setup_.ranks.expert_parallel) {
  const bool shared = ranks_.parallel().any();
  if (shared && !setup_.shares_model)
    throw ConfigError(message(ranks_.parallel().key(), " is for the kinds grpo and sft; leave it out"));
  if (request.resume && ranks_.rank() == 0 && !std::filesystem::exists(setup_.output.dir / "config.yaml"))
    throw ConfigError(message("--resume: ", setup_.output.dir.string(), " holds no run; leave --resume out to start one"));
  for (const std::string& warning : setup_.warnings) terminal_.print("warning: " + warning, true);
  const int threads = threads_of(request, request.globals.threads > 0 ? request.globals.threads : setup_.threads);
  if (!ranks_.alone())
    terminal_.print(message("  ranks     ", ranks_.world(), " (", request.session->launch().launcher, "), ", ranks_.lanes(), " lanes, zero ", setup_.ranks.zero,
                            shared ? message(", ", ranks_.parallel().key() + 6, " ", ranks_.world() / ranks_.groups()) : ""));
  if (setup_.scorer && setup_.model.long_context) throw ConfigError("model.long_context is not there for models with a value head; leave it out");
  ranks_.phase("opening the model");
  runtime_ = setup_.scorer ? open_scorer(setup_.model.path, setup_.model.dtype, threads, setup_.model.device)
                           : open_model(setup_.model.path, setup_.model.dtype, threads, setup_.model.device, ranks_.parallel(), setup_.model.long_context);
}

TrainRun::~TrainRun() {
  log_.reset();
  folder_.reset();
  std::error_code ignored;
  if (!scratch_.empty()) std::filesystem::remove_all(scratch_, ignored);
}

void TrainRun::share(BackendNeeds& needs) const {
  if (!ranks_.alone()) needs.share = {ranks_.rank(), ranks_.world(), setup_.ranks.zero};
}

void TrainRun::join(const BackendParts& made) {
  if (ranks_.alone()) return;
  if (made.policy) made.policy->join(ranks_.gradient_session(), setup_.ranks.zero);
  if (made.policy && ranks_.expert_session()) made.policy->join_experts(*ranks_.expert_session());
  if (made.critic) made.critic->join(*ranks_.session(), setup_.ranks.zero);
  if (made.value && setup_.ranks.zero > 2)
    throw ConfigError(message("train.zero is ", setup_.ranks.zero, ": models with a value head keep their weights whole on every rank; use 1"));
  if (made.value) made.value->join(*ranks_.session(), setup_.ranks.zero);
}

RunFolder& TrainRun::open_folder() {
  RunEnvironment environment;
  environment.command_line = request_.command_line;
  environment.cpu = cpu_line();
  environment.device = backend().device();
  environment.threads = runtime_.pool->size();
  environment.seed = setup_.seed;
  RunFolder::Options options;
  options.overwrite = request_.overwrite;
  options.may_change = {"output", "eval", "train.threads", "train.recompute", "model.device"};
  options.may_change.insert(options.may_change.end(), setup_.may_change.begin(), setup_.may_change.end());
  for (std::string& key : rank_keys()) options.may_change.push_back(std::move(key));
  std::filesystem::path dir = setup_.output.dir;
  if (ranks_.rank() != 0) {
    std::string pattern = (std::filesystem::temp_directory_path() / "r1_rank_XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr)
      throw IoError(message("no folder can be made in ", std::filesystem::temp_directory_path().string(), "; set TMPDIR to one that is writable"));
    scratch_ = pattern;
    dir = scratch_ / "run";
  }
  folder_.emplace(dir, *setup_.resolved, environment, options);
  std::string state(1, folder_->state() == RunFolder::State::kFinished ? '1' : '0');
  ranks_.broadcast(state, "the run folder");
  was_finished_ = state == "1";
  log_.emplace(LogOptions{&terminal_, LogLevel::kWarning, folder_->log(), LogLevel::kDebug});
  return *folder_;
}

std::optional<LoraAdapter> TrainRun::adapter(const std::optional<LoraSection>& lora) {
  if (!lora) return std::nullopt;
  LoraAdapter adapter =
      lora->init_from.empty() ? LoraAdapter(backend().config(), lora->options) : LoraAdapter::load(lora->init_from, backend().config());
  terminal_.print(message("  lora      rank ", adapter.options().rank, ", scale ", adapter.options().scale(), ", ", adapter.pairs().size(),
                          " matrices, ", human_count(static_cast<double>(adapter.values().size())), " trained parameters",
                          lora->options.dropout > 0 ? message(", dropout ", lora->options.dropout) : ""));
  adapter.set_dropout(lora->options.dropout, lora->options.seed);
  return adapter;
}

// Before any work: a run that cannot save its first checkpoint would lose all of it.
void TrainRun::check_disk(const BackendParts& made) const {
  const auto parameters = static_cast<std::uint64_t>(backend().config().num_parameters());
  // Master weights and two moments in float32; a GPU's may be packed into a third of it.
  const std::uint64_t state = made.lora ? 12 * made.lora->adapter().values().size() : (backend().device() == "cpu" ? 12 : 4) * parameters;
  const std::uint64_t needed = parameters * size_of(setup_.model.dtype) + state, free = free_bytes(folder_->path());
  if (free < needed)
    throw ConfigError(message("output.dir ", setup_.output.dir.string(), ": its disk has ", human_bytes(free), " free, one checkpoint takes ", human_bytes(needed),
                              "; free some space, or choose another folder"));
}

ModelCheckpointStore TrainRun::checkpoints(const BackendParts& made) {
  if (ranks_.rank() == 0) check_disk(made);
  SaveCheckpointOptions save;
  save.dtype = setup_.model.dtype;
  save.keep = setup_.output.keep;
  if (is_gguf(runtime_.path)) save.side_files = GgufModel(runtime_.path).side_files();
  else save.side_files_from = runtime_.path;
  if (made.lora)
    save.write_more = [&made, base = setup_.model.path](const std::filesystem::path& folder) {
      made.lora->adapter().save(folder / "adapter", base, made.value ? made.value->head() : std::span<const float>());
    };
  return ModelCheckpointStore(folder_->path() / "checkpoints", backend().config(), save);
}

MetricsWriter TrainRun::metrics(std::optional<std::int64_t> resumed) {
  MetricsWriter::Options options;
  options.jsonl = folder_->metrics();
  if (setup_.output.tensorboard) options.tensorboard = folder_->tensorboard();
  options.keep_until_step = resumed;
  return MetricsWriter(options);
}

}  // namespace r1
