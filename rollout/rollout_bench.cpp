#include "rollout/rollout_bench.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ostream>

#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class F>
double best_seconds(int times, F&& f) {
  double best = 1e30;
  for (int i = 0; i < times; ++i) {
    const double start = now();
    f();
    best = std::min(best, now() - start);
  }
  return best;
}

std::vector<RolloutRequest> make_requests(const RolloutBenchCase& c, std::int64_t vocab, std::uint64_t seed, std::uint64_t run) {
  std::vector<RolloutRequest> requests(static_cast<std::size_t>(c.sequences / c.samples));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    RolloutRequest& r = requests[i];
    StreamRng rng(seed + run, i);
    r.prompt.id = message("bench-", i);
    for (int t = 0; t < c.prompt_tokens; ++t) r.prompt.tokens.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
    r.sampling.max_new_tokens = c.new_tokens;
    r.sampling.ignore_eos = true;
    r.samples = c.samples;
    r.key = {seed, run, i, 0};
  }
  return requests;
}

}  // namespace

double rollout_floor_seconds(const ModelConfig& m, std::size_t bytes_per_weight, const RolloutBenchCase& c, double bandwidth, double flops) {
  const auto size = static_cast<double>(bytes_per_weight);
  const double head = static_cast<double>(m.vocab_size * m.hidden_size);
  const double all = static_cast<double>(m.num_parameters());
  // An input embedding row is nothing.
  double shared = m.tie_word_embeddings ? all : all - head, expert = 0, expert_layers = 0;
  if (m.moe) {
    expert = 3.0 * static_cast<double>(m.hidden_size * m.moe->intermediate_size);
    expert_layers = static_cast<double>(std::count(m.moe->layers.begin(), m.moe->layers.end(), true));
    shared -= expert_layers * static_cast<double>(m.moe->num_experts) * expert;
  }
  const auto read = [&](double tokens) { return shared + (m.moe ? expert_layers * distinct_experts(*m.moe, tokens) * expert : 0); };
  const double used = shared + (m.moe ? expert_layers * static_cast<double>(m.moe->experts_per_token) * expert : 0);  // by one token
  const double layers = used - head;
  const double kv = static_cast<double>(m.kv_values_per_token()) * size;  // bytes a token
  // Multiplications of one position with one that it sees, half of what score and value take together.
  const double width = m.mla ? static_cast<double>(m.mla->cached_width() + m.mla->kv_lora_rank) / 2 : static_cast<double>(m.head_dim);
  const double score = static_cast<double>(m.num_attention_heads * m.num_hidden_layers) * width;
  const double B = c.sequences, P = c.prompt_tokens, prompts = B / c.samples;
  double seconds = std::max(size * read(prompts * P) / bandwidth, (2 * layers * prompts * P + 2 * score * P * prompts * P + 2 * head * prompts) / flops);
  for (int t = 1; t < c.new_tokens; ++t) {
    const double context = P + t;
    seconds += std::max(size * read(B) / bandwidth, 2 * used * B / flops) + std::max(B * context * kv / bandwidth, 4 * B * context * score / flops);
  }
  return seconds;
}

double distinct_experts(const MixtureOfExperts& moe, double n) {
  const auto experts = static_cast<double>(moe.num_experts);
  return experts * (1 - std::pow(1 - static_cast<double>(moe.experts_per_token) / experts, n));
}

double measure_bandwidth(ComputePool& pool, const std::byte* data, std::size_t bytes) {
  constexpr std::int64_t kLine = 64;
  const std::int64_t lines = static_cast<std::int64_t>(bytes) / kLine;
  R1_CHECK(lines > 0, "a bandwidth of ", bytes, " bytes");
  std::atomic<std::uint64_t> sum{0};  // an atomic sum is not optimised away
  const double seconds = best_seconds(7, [&] {
    pool.parallel_for(lines, std::int64_t{1} << 14, [&](std::int64_t begin, std::int64_t end) {
      const auto* words = reinterpret_cast<const std::uint64_t*>(data);
      std::uint64_t part[8] = {};
      for (std::int64_t i = begin * 8; i < end * 8; i += 8)
        for (int j = 0; j < 8; ++j) part[j] += words[i + j];
      sum += part[0] + part[1] + part[2] + part[3] + part[4] + part[5] + part[6] + part[7];
    });
  });
  return static_cast<double>(lines * kLine) / seconds;
}

double measure_flops(ComputePool& pool, cpu::Type type) {
  constexpr std::int64_t kM = 512, kN = 4096, kK = 2048;
  const std::size_t size = type == cpu::Type::kBF16 ? 2 : 4;
  const std::vector<std::byte> a(kM * kK * size), b(kN * kK * size);
  std::vector<float> c(kM * kN);
  cpu::PackedMatrix packed = cpu::make_packed(type, kN, kK);
  cpu::pack(pool, b.data(), kK, packed);
  cpu::GemmArgs args;
  args.a = a.data(), args.m = kM, args.lda = kK, args.b = &packed, args.c = c.data(), args.ldc = kN;
  return 2.0 * kM * kN * kK / best_seconds(6, [&] { cpu::gemm(pool, args); });
}

namespace {

struct Machine { double bandwidth, flops; };

// Seconds a run of the case, and its line.
nlohmann::ordered_json bench_case(Transformer& model, const std::shared_ptr<const Tokenizer>& tokenizer, const RolloutBenchCase& c, const RolloutBenchOptions& options,
                                  bool speculative, const Machine& machine) {
  const DType dtype = model.weights().dtype();
  LocalEngineOptions engine_options = options.engine;
  engine_options.max_rows = std::max(engine_options.max_rows, c.sequences * (speculative ? 2 : 1));
  engine_options.speculative = speculative;
  LocalEngine engine(model, tokenizer, engine_options);
  R1_CHECK(c.samples >= 1 && c.sequences % c.samples == 0, c.sequences, " sequences of ", c.samples, " samples a prompt");
  std::uint64_t run = 0;
  // Sorted seconds of the timed runs, each with new prompts.
  const auto measure = [&](RolloutBenchCase what) {
    std::vector<double> seconds;
    for (int i = 0; i <= std::max(options.repeats, 1); ++i) {
      std::vector<RolloutRequest> requests = make_requests(what, model.vocab_limit(), options.seed, run++);
      const double start = now();
      const std::vector<SampleGroup> groups = generate(engine, std::move(requests));
      if (i > 0) seconds.push_back(now() - start);
      for (const SampleGroup& g : groups)
        for (const Completion& completion : g.completions)
          R1_CHECK(static_cast<int>(completion.tokens.size()) == what.new_tokens, "a completion of ", completion.tokens.size(), " tokens");
    }
    return seconds;
  };
  const auto median_of = [](std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
  };
  const std::vector<double> runs = measure(c);
  const double median = median_of(runs);
  const EngineStats stats = engine.stats();
  RolloutBenchCase first_token = c;
  first_token.new_tokens = 1;
  const double prefill = median_of(measure(first_token));
  const double floor = rollout_floor_seconds(model.config(), size_of(dtype), c, machine.bandwidth, machine.flops);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  nlohmann::ordered_json line = {{"bench", "rollout"},
                                 {"device", "cpu"},
                                 {"isa", cpu::to_string(cpu::isa())},
                                 {"threads", model.pool().size()},
                                 {"dtype", safetensors_name(dtype)},
                                 {"parameters", model.config().num_parameters()},
                                 {"batch", c.sequences},
                                 {"samples_per_prompt", c.samples},
                                 {"prompt_tokens", c.prompt_tokens},
                                 {"new_tokens", c.new_tokens},
                                 {"seconds", median},
                                 {"runs_s", runs},
                                 {"tok_s", static_cast<double>(c.sequences) * c.new_tokens / median},
                                 {"first_token_s", prefill},
                                 {"decode_tok_s", c.new_tokens > 1 && median > prefill
                                                      ? static_cast<double>(c.sequences) * (c.new_tokens - 1) / (median - prefill)
                                                      : 0.0},
                                 {"floor_s", floor},  // of plain decoding
                                 {"roofline_pct", 100 * floor / median},
                                 {"bandwidth_gb_s", machine.bandwidth / 1e9},
                                 {"gflops", machine.flops / 1e9},
                                 {"kv_bytes", stats.kv_blocks_peak * static_cast<std::int64_t>(engine.kv_block_bytes())},
                                 {"peak_memory_bytes", static_cast<std::int64_t>(usage.ru_maxrss) * 1024}};
  if (speculative) line["draft_acceptance"] = static_cast<double>(stats.accepted_tokens) / static_cast<double>(std::max<std::int64_t>(stats.drafted_tokens, 1));
  if (!options.commit.empty()) line["commit"] = options.commit;
  return line;
}

}  // namespace

void run_rollout_bench(Transformer& model, const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<RolloutBenchCase>& cases,
                       const RolloutBenchOptions& options, std::ostream& out) {
  const DType dtype = model.weights().dtype();
  const cpu::Type type = dtype == DType::kBF16 ? cpu::Type::kBF16 : cpu::Type::kF32;
  const auto weight_bytes = static_cast<std::size_t>(model.weights().elements()) * size_of(dtype);
  const Machine machine{options.bandwidth > 0 ? options.bandwidth : measure_bandwidth(model.pool(), model.weights().data(), weight_bytes),
                        options.flops > 0 ? options.flops : measure_flops(model.pool(), type)};
  std::vector<nlohmann::ordered_json> plain, drafts;
  for (const RolloutBenchCase& c : cases) {
    plain.push_back(bench_case(model, tokenizer, c, options, false, machine));
    out << plain.back().dump() << std::endl;
    drafts.push_back(c.speculative ? bench_case(model, tokenizer, c, options, true, machine) : nlohmann::ordered_json());
    if (c.speculative) out << drafts.back().dump() << std::endl;
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (!cases[i].speculative) continue;
    if (model.config().tie_word_embeddings) throw ConfigError("bench rollout --speculative: the model's LM head is its embedding, which cannot be zeros");
    const Parameter& head = model.weights().find("lm_head.weight");
    std::memset(model.weights().at(head), 0, static_cast<std::size_t>(head.elements) * size_of(dtype));
    model.weights_changed();
    nlohmann::ordered_json all = bench_case(model, tokenizer, cases[i], options, true, machine);
    all["head"] = "zeros";
    // A run's time between the two is taken as linear in the share that holds.
    const double never = drafts[i]["seconds"], ever = all["seconds"], without = plain[i]["seconds"], held = drafts[i]["draft_acceptance"], most = all["draft_acceptance"];
    all["speed_up"] = without / ever;
    all["speed_up_as_is"] = without / never;
    all["break_even_acceptance"] = never > ever ? nlohmann::ordered_json(held + (most - held) * (never - without) / (never - ever)) : nlohmann::ordered_json(nullptr);
    out << all.dump() << std::endl;
  }
}

}  // namespace r1
