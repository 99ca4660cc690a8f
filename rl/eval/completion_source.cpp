#include "rl/eval/completion_source.h"

#include <atomic>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/signals.h"

namespace r1 {
namespace {

SamplingOptions greedy_of(SamplingOptions o) {
  o.temperature = 0, o.top_k = 0, o.top_p = 1, o.min_p = 0;
  return o;
}

class EngineSource : public CompletionSource {
 public:
  explicit EngineSource(RolloutEngine& engine) : engine_(engine) {}

  void sample(std::span<const Prompt> prompts, std::span<const SampleRequest> requests, const SamplingOptions& sampling, std::uint64_t seed,
              const SampleSink& sink) override {
    // A window at a time keeps the engine full and the memory bounded.
    constexpr std::size_t kWindow = 256;
    for (std::size_t begin = 0; begin < requests.size(); begin += kWindow) {
      throw_if_stopped();
      std::map<RequestId, const SampleRequest*> running;
      for (const SampleRequest& r : requests.subspan(begin, std::min(kWindow, requests.size() - begin))) {
        const DrawKey key{seed, kEvalStep, r.prompt, static_cast<std::uint32_t>(r.first)};
        running[engine_.submit({prompts[r.prompt], r.count, r.greedy ? greedy_of(sampling) : sampling, key})] = &r;
      }
      engine_.wait([&](RolloutEvent&& event) {
        if (event.kind != RolloutEvent::Kind::kFinished) return;
        const SampleRequest& r = *running.at(event.request);
        sink(r, r.first + event.sample, std::move(event.completion));
        throw_if_stopped();
      });
    }
  }

 private:
  RolloutEngine& engine_;
};

class TextSource : public CompletionSource {
 public:
  TextSource(TextClient client, int concurrency, int max_failures)
      : client_(std::move(client)), concurrency_(concurrency), max_failures_(max_failures) {}

  void sample(std::span<const Prompt> prompts, std::span<const SampleRequest> requests, const SamplingOptions& sampling, std::uint64_t seed,
              const SampleSink& sink) override {
    struct Unit {
      const SampleRequest* request;
      int sample;
    };
    std::vector<Unit> units;
    for (const SampleRequest& r : requests)
      for (int i = 0; i < r.count; ++i) units.push_back({&r, r.first + i});
    std::atomic<std::size_t> next = 0;
    std::mutex mutex;
    int failures = 0;
    bool refused = false;
    std::string reason;
    std::exception_ptr error;
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < std::min<int>(concurrency_, static_cast<int>(units.size())); ++t)
        threads.emplace_back([&] {
          while (!stop_requested()) {
            {
              const std::lock_guard lock(mutex);
              if (refused || error || failures >= max_failures_) return;
            }
            const std::size_t i = next++;
            if (i >= units.size()) return;
            const auto& [r, sample] = units[i];
            TextRequest request{&prompts[r->prompt], r->greedy ? greedy_of(sampling) : sampling, 0};
            // 31 bits: some servers take no larger seed.
            request.seed = draw_bits({seed, kEvalStep, r->prompt, static_cast<std::uint32_t>(sample)}, 0) >> 33;
            TextReply reply = client_(request);
            const std::lock_guard lock(mutex);
            if (reply.status != TextReply::Status::kText) {
              ++failures;
              refused = refused || reply.status == TextReply::Status::kRefused;
              if (reason.empty()) reason = reply.text;
              continue;
            }
            Completion c;
            c.text = std::move(reply.text);
            c.stop = reply.stop;
            c.tokens.resize(static_cast<std::size_t>(std::max<std::int64_t>(reply.tokens, 0)));
            try {
              sink(*r, sample, std::move(c));
            } catch (...) {
              error = std::current_exception();
            }
          }
        });
    }
    if (error) std::rethrow_exception(error);
    throw_if_stopped();
    if (failures > 0)
      throw Error(message(failures, " of ", units.size(), " requests failed", refused || failures >= max_failures_ ? ", the rest were not sent" : "",
                          "; the first: ", reason, "; what was answered is kept where --out is given: the same command goes on"));
  }

 private:
  TextClient client_;
  int concurrency_, max_failures_;
};

}  // namespace

std::unique_ptr<CompletionSource> make_engine_source(RolloutEngine& engine) { return std::make_unique<EngineSource>(engine); }
std::unique_ptr<CompletionSource> make_text_source(TextClient client, int concurrency, int max_failures) {
  return std::make_unique<TextSource>(std::move(client), concurrency, max_failures);
}

}  // namespace r1
