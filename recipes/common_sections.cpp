#include "recipes/common_sections.h"

#include <array>

namespace r1 {

std::vector<std::string> rank_keys() {
  return {"train.zero",           "train.offload",          "train.tensor_parallel",     "train.sequence_parallel", "train.expert_parallel",
          "train.comm_timeout_s", "train.comm_silence_s", "train.comm_start_timeout_s"};
}

}  // namespace r1

namespace r1::detail {

std::string recipe_name(const Config& config) { return std::filesystem::path(config.name()).stem().string(); }

ModelSection read_model(ConfigReader reader) {
  ModelSection out;
  out.path = reader.require<std::string>("path");
  if (out.path.empty()) reader.fail("path", "is empty; name a model folder, a GGUF file or a hub name");
  const std::string dtype = reader.get_choice("dtype", "bfloat16", std::array<std::string, 2>{"bfloat16", "float32"});
  out.device = reader.get_choice("device", "auto", std::array<std::string, 3>{"auto", "cpu", "cuda"});
  out.dtype = dtype == "float32" ? DType::kF32 : DType::kBF16;
  out.long_context = reader.get<bool>("long_context", false);
  return out;
}

TrainSection read_train(ConfigReader& reader) {
  TrainSection out;
  if (const auto rows = reader.get_in<std::int64_t>("tokens_per_micro_batch", 0, 0, std::int64_t{1} << 30); rows > 0)
    out.tokens_per_micro_batch = rows;
  const std::string recompute = reader.get_choice("recompute", "auto", std::array<std::string, 3>{"auto", "true", "false"});
  if (recompute != "auto") out.recompute = recompute == "true";
  const auto format = [&](const char* key, const char* packed) { return reader.get_choice(key, "auto", std::array<std::string, 3>{"auto", "float32", packed}); };
  out.optimizer.master = parse_master_format(format("master", "split"));
  out.optimizer.moments = parse_moment_format(format("moments", "8bit"));
  out.optimizer.gradients = parse_gradient_format(format("gradients", "bfloat16"));
  out.optimizer.offload = parse_offload(reader.get_choice("offload", "none", std::array<std::string, 2>{"none", "optimizer"}));
  if (out.optimizer.offload && out.optimizer.moments == MomentFormat::k8Bit)
    reader.fail("offload", "keeps float32 moments in the host's memory, and train.moments is 8bit; leave one of them out");
  out.threads = reader.get_in<int>("threads", 0, 0, 4096);
  out.ranks = read_ranks(reader);
  return out;
}

RanksSection read_ranks(ConfigReader& train) {
  RanksSection out;
  out.zero = train.get_in<int>("zero", 0, 0, 3);
  out.tensor_parallel = train.get_in<int>("tensor_parallel", 1, 1, 1024);
  out.sequence_parallel = train.get_in<int>("sequence_parallel", 1, 1, 1024);
  out.expert_parallel = train.get_in<int>("expert_parallel", 1, 1, 1024);
  out.lanes = train.get_in<int>("lanes", 0, 0, 4096);
  out.comm_timeout_s = train.get_in<double>("comm_timeout_s", out.comm_timeout_s, 1.0, 1e7);
  out.comm_silence_s = train.get_in<double>("comm_silence_s", out.comm_silence_s, 1.0, 1e7);
  out.comm_start_timeout_s = train.get_in<double>("comm_start_timeout_s", out.comm_start_timeout_s, 1.0, 1e7);
  return out;
}

std::optional<LoraSection> read_lora(ConfigReader& root, std::uint64_t seed, const std::string& no_dropout) {
  if (!root.has("lora")) return std::nullopt;
  ConfigReader reader = root.section("lora");
  LoraSection out;
  out.init_from = reader.get<std::filesystem::path>("init_from", "");
  if (!out.init_from.empty()) {
    for (const char* key : {"rank", "alpha", "targets", "rslora"}) reader.reject(key, "lora.init_from is set; its adapter_config.json says that");
    if (!LoraAdapter::is_adapter(out.init_from))
      reader.fail("init_from", message("names ", out.init_from.string(), ", which holds no adapter_config.json"));
  } else {
    out.options.rank = reader.get_in<int>("rank", 16, 1, 4096);
    out.options.alpha = reader.get_in<double>("alpha", 2.0 * out.options.rank, 1e-6, 1e6);
    out.options.targets = reader.get<std::vector<std::string>>("targets", {"all-linear"});
    if (out.options.targets.empty()) reader.fail("targets", "is empty; name projections (q_proj, v_proj, ...) or all-linear");
    out.options.rslora = reader.get<bool>("rslora", false);
  }
  out.options.seed = seed;
  out.options.dropout = reader.get_in<double>("dropout", 0.0, 0.0, 0.9);
  if (out.options.dropout != 0 && !no_dropout.empty()) reader.fail("dropout", message("must be 0: ", no_dropout));
  return out;
}

OutputSection read_output(ConfigReader reader, const std::string& name, bool samples) {
  OutputSection out;
  out.dir = reader.get<std::filesystem::path>("dir", std::filesystem::path("runs") / name);
  if (out.dir.empty()) reader.fail("dir", "is empty; name a folder for the run");
  out.save_every = reader.get_in<std::int64_t>("save_every", 50, 0, 1'000'000'000);
  out.keep = reader.get_in<int>("keep", 3, 0, 1'000'000);
  out.samples_every = samples ? reader.get_in<std::int64_t>("samples_every", 10, 0, 1'000'000'000) : 0;
  out.record_gb = samples ? reader.get_in<double>("record_gb", 1.0, 0.0, 1e6) : 0;
  out.tensorboard = reader.get<bool>("tensorboard", true);
  return out;
}

OptimizerOptions read_optimizer(ConfigReader& section, const OptimizerDefaults& defaults) {
  OptimizerOptions o;
  LrOptions& lr = o.learning_rate;
  lr.peak = section.get_in<double>("learning_rate", defaults.learning_rate, 0.0, 1.0);
  if (lr.peak == 0) section.fail("learning_rate", "is 0: nothing would be learnt");
  lr.schedule = read_name(section, "lr_schedule", defaults.schedule, parse_lr_schedule);
  if (lr.schedule == LrSchedule::kCosineWithMinLr) lr.min_ratio = section.get_in<double>("min_lr_ratio", 0.1, 0.0, 1.0);
  else section.reject("min_lr_ratio", "it belongs to lr_schedule: cosine_with_min_lr");
  o.beta1 = section.get_in<double>("adam_beta1", 0.9, 0.0, 0.9999999);
  o.beta2 = section.get_in<double>("adam_beta2", defaults.beta2, 0.0, 0.9999999);
  o.epsilon = section.get_in<double>("adam_epsilon", 1e-8, 1e-30, 1.0);
  o.weight_decay = section.get_in<double>("weight_decay", 0.0, 0.0, 10.0);
  o.max_grad_norm = section.get_in<double>("max_grad_norm", 1.0, 0.0, 1e9);
  return o;
}

}  // namespace r1::detail
