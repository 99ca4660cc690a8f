#include "distill/engines.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "core/digest.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/rng.h"

namespace r1 {
namespace {

// 0.6f as 0.6 and not 0.60000002384.
double as_written(float value) { return std::stod(json_number(value)); }

class RolloutSource : public SampleEngine {
 public:
  RolloutSource(std::string name, RolloutEngine& engine, const std::vector<Prompt>& prompts, SamplingOptions sampling, std::uint64_t seed,
                std::shared_ptr<const Tokenizer> tokenizer, int in_flight)
      : name_(std::move(name)), engine_(engine), prompts_(prompts), sampling_(std::move(sampling)), seed_(seed), tokenizer_(std::move(tokenizer)),
        most_(in_flight > 0 ? in_flight : 256) {}
  std::string name() const override { return name_; }

  void run(WorkSource& source) override {
    std::unordered_map<RequestId, Work> running;
    int in_flight = 0;
    const auto fill = [&](bool wait) {
      while (in_flight < most_) {
        const auto work = source.next(wait && in_flight == 0, most_ - in_flight);
        if (!work) return;
        const RequestId id = engine_.submit({prompts_.at(work->prompt), work->count, sampling_,
                                             {seed_, 0, work->prompt, static_cast<std::uint32_t>(work->first)}});
        running.emplace(id, *work);
        in_flight += work->count;
      }
    };
    for (fill(true); in_flight > 0; fill(true)) {
      engine_.wait([&](RolloutEvent&& event) {
        if (event.kind != RolloutEvent::Kind::kFinished) return;
        const Work work = running.at(event.request);
        --in_flight;
        source.done(work.prompt, work.first + event.sample, drawn(std::move(event.completion)));
        fill(false);
      });
    }
  }

 private:
  Drawn drawn(Completion c) const {
    Drawn d;
    d.stop = c.stop;
    d.text = std::move(c.text);
    d.num_tokens = static_cast<std::int64_t>(c.tokens.size());
    double sum = 0;
    for (const float lp : c.logprobs) sum += lp;
    d.logprob = sum;
    if (!c.version_runs.empty()) d.digest = to_hex(c.version_runs.back().digest);
    if (d.stop == StopReason::kStop && tokenizer_) {
      // The stop string is in the tokens, right behind the text.
      const std::string whole = tokenizer_->decode(c.tokens);
      for (const std::string& stop : sampling_.stop_strings)
        if (whole.starts_with(d.text) && whole.compare(d.text.size(), stop.size(), stop) == 0 && stop.size() > d.stop_text.size()) d.stop_text = stop;
    }
    d.tokens = std::move(c.tokens);
    return d;
  }

  std::string name_;
  RolloutEngine& engine_;
  const std::vector<Prompt>& prompts_;
  SamplingOptions sampling_;
  std::uint64_t seed_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  int most_;
};

class ChatSource : public SampleEngine {
 public:
  ChatSource(std::string name, ChatClient client, const std::vector<Prompt>& prompts, SamplingOptions sampling, std::uint64_t seed, int parallel)
      : name_(std::move(name)), client_(std::move(client)), prompts_(prompts), sampling_(std::move(sampling)), seed_(seed), parallel_(parallel) {}
  std::string name() const override { return name_; }

  void run(WorkSource& source) override {
    std::exception_ptr first;
    std::mutex mutex;
    std::atomic<bool> broken{false};
    std::atomic<int> failures{0};  // in a row, over all threads
    const auto worker = [&] {
      try {
        while (!broken) {
          const auto work = source.next(true, 1);
          if (!work) return;
          ask(source, *work, failures);
        }
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
        broken = true;
      }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < parallel_; ++i) threads.emplace_back(worker);
    for (std::thread& t : threads) t.join();
    if (first) std::rethrow_exception(first);
  }

 private:
  void ask(WorkSource& source, const Work& work, std::atomic<int>& failures) const {
    ChatRequest request;
    request.messages = prompts_.at(work.prompt).messages;
    request.temperature = as_written(sampling_.temperature);
    request.max_tokens = sampling_.max_new_tokens;
    request.top_p = as_written(sampling_.top_p);
    request.stop = sampling_.stop_strings;
    // Servers take seeds of 31 or 63 bits.
    request.seed = draw_bits({seed_, 0, work.prompt, static_cast<std::uint32_t>(work.first)}, 0) >> 33;
    constexpr int kFailures = 3;
    for (;;) {
      const ChatReply reply = client_.ask(request);
      const bool refused = reply.cause == "HTTP 400" || reply.cause == "HTTP 413" || reply.cause == "HTTP 422";
      if (reply.status == ChatReply::Status::kText || refused) {
        failures = 0;
        return source.done(work.prompt, work.first, drawn_from(reply));
      }
      if (reply.cause == "interrupted") throw Interrupted(reply.text);
      if (++failures >= kFailures) throw Error(message(name_, ": ", reply.text));
    }
  }

  std::string name_;
  ChatClient client_;
  const std::vector<Prompt>& prompts_;
  SamplingOptions sampling_;
  std::uint64_t seed_;
  int parallel_;
};

}  // namespace

Drawn drawn_from(const ChatReply& reply) {
  Drawn d;
  if (reply.status != ChatReply::Status::kText) {
    d.error = reply.text;
    return d;
  }
  d.text = reply.reasoning.empty() ? reply.text : "<think>\n" + reply.reasoning + "\n</think>\n\n" + reply.text;
  // A server that cut the reasoning off gives no answer: the block stays open then.
  if (!reply.reasoning.empty() && reply.text.empty() && reply.finish == "length") d.text = "<think>\n" + reply.reasoning;
  d.stop = reply.finish == "length" ? StopReason::kLength : StopReason::kEos;
  d.num_tokens = reply.tokens;
  return d;
}

std::unique_ptr<SampleEngine> make_rollout_source(std::string name, RolloutEngine& engine, const std::vector<Prompt>& prompts,
                                                  SamplingOptions sampling, std::uint64_t seed, std::shared_ptr<const Tokenizer> tokenizer,
                                                  int in_flight) {
  return std::make_unique<RolloutSource>(std::move(name), engine, prompts, std::move(sampling), seed, std::move(tokenizer), in_flight);
}

std::unique_ptr<SampleEngine> make_chat_source(std::string name, ChatClient client, const std::vector<Prompt>& prompts, SamplingOptions sampling,
                                               std::uint64_t seed, int parallel) {
  R1_CHECK(parallel >= 1, "a chat engine with ", parallel, " questions at once");
  return std::make_unique<ChatSource>(std::move(name), std::move(client), prompts, std::move(sampling), seed, parallel);
}

}  // namespace r1
