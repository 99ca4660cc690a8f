#include "apps/train_run.h"

#include <utility>

#include "core/error.h"
#include "core/format.h"
#include "core/machine.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"

namespace r1 {
namespace {

Terminal::Options screen_options(const Globals& globals) {
  Terminal::Options options;
  options.quiet = globals.quiet;
  return options;
}

}  // namespace

TrainRun::TrainRun(const TrainRequest& request, Setup setup)
    : setup_(std::move(setup)), request_(request), terminal_(screen_options(request.globals)) {
  if (request.resume && !std::filesystem::exists(setup_.output.dir / "config.yaml"))
    throw ConfigError(message("--resume: ", setup_.output.dir.string(), " holds no run; leave --resume out to start one"));
  for (const std::string& warning : setup_.warnings) terminal_.print("warning: " + warning, true);
  const int threads = request.globals.threads > 0 ? request.globals.threads : setup_.threads;
  runtime_ = setup_.scorer ? open_scorer(setup_.model.path, setup_.model.dtype, threads, setup_.model.device)
                           : open_model(setup_.model.path, setup_.model.dtype, threads, setup_.model.device);
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
  folder_.emplace(setup_.output.dir, *setup_.resolved, environment, options);
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

ModelCheckpointStore TrainRun::checkpoints(const BackendParts& made) {
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
