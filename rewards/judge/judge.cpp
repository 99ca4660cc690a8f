#include "rewards/judge/judge.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>

#include "core/error.h"
#include "core/json_text.h"
#include "core/log.h"
#include "core/thread_pool.h"
#include "rewards/completion_text.h"
#include "rewards/judge/cache.h"
#include "rewards/judge/prompt.h"
#include "rewards/users/user_reply.h"

namespace r1 {
namespace {

using Kind = JudgeVerdict::Kind;
using Mode = JudgeOptions::Mode;

Digest cache_key(const std::string& identity, const ChatRequest& request) {
  Hasher hash;
  hash.update_field(identity);
  hash.update_field(message(request.temperature, " ", request.max_tokens, " ", request.seed));
  for (const Message& m : request.messages) {
    hash.update_field(m.role);
    hash.update_field(m.content);
  }
  return hash.digest();
}

class Judge final : public RewardFunction {
 public:
  Judge(JudgeOptions options, ChatClient client)
      : options_(std::move(options)), client_(std::move(client)), cache_(options_.cache), pool_(options_.concurrency, 4096, "r1-judge") {}

  std::string_view name() const override { return "judge"; }
  bool judges_answer() const override { return options_.mode == Mode::kAnswer; }
  std::string check_prompt(const Prompt& prompt) const override {
    return options_.mode == Mode::kAnswer && trim(prompt.reference).empty() ? "has no gold answer to compare with" : "";
  }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    const bool opened = prompt_opens_think(group.prompt);
    std::vector<std::future<RewardResult>> waiting(out.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::string answer = shown_part(group.completions[i].text, opened);
      if (options_.mode == Mode::kAnswer && !has_word(answer)) {
        out[i].verdict = Verdict::kUnparsed;
        out[i].value = options_.wrong;
        out[i].detail = "no_answer";
        continue;
      }
      waiting[i] = pool_.submit([this, &group, answer] { return judge(group.prompt, answer); });
    }
    std::size_t abstained = 0;
    for (std::future<RewardResult>& result : waiting)  // all of them end before `group` may go
      if (result.valid()) result.wait();
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (waiting[i].valid()) out[i] = waiting[i].get();
      abstained += out[i].value ? 0 : 1;
    }
    if (!out.empty())
      out[0].columns[std::string(kMetricColumn) + "judge/abstained"] = json_number(static_cast<double>(abstained) / static_cast<double>(out.size()));
  }

  // Throws Error with what is wrong with the model as a judge.
  void start_check() const {
    Prompt prompt;
    prompt.text = "What is 2 + 2?";
    prompt.reference = "4";
    const auto check = [&](const std::string& answer, Verdict wanted) {
      const RewardResult r = judge(prompt, answer);
      if (!r.value) throw Error("it was asked for a verdict that is known and gave none: " + r.detail);
      if (wanted != Verdict::kAbstain && r.verdict != wanted)
        throw Error(message("it calls the answer ", answer, " to 2 + 2 ", wanted == Verdict::kCorrect ? "wrong" : "right", "; a model that cannot judge this cannot judge"));
    };
    if (options_.mode != Mode::kAnswer) return check("<think>\n2 + 2 is 4.\n</think>\n4", Verdict::kAbstain);
    check("The answer is 4.", Verdict::kCorrect);
    check("The answer is 7.", Verdict::kWrong);
  }

 private:
  std::string shown_part(const std::string& text, bool opened) const {
    if (options_.mode != Mode::kAnswer) return (opened ? "<think>\n" : "") + text;
    const std::string_view region = after_think(text, opened).text;
    const TaggedAnswer tagged = last_answer_tag(region);
    return std::string(trim(tagged.found ? tagged.text : region));
  }

  ChatReply ask(const Prompt& prompt, const std::string& answer, int vote) const {
    ChatRequest request;
    request.messages = judge_messages(options_, prompt, answer, vote);
    request.temperature = options_.temperature;
    request.max_tokens = options_.max_tokens;
    request.seed = static_cast<std::uint64_t>(vote);
    return cache_.get(cache_key(client_.identity, request), [&] { return client_.ask(request); },
                      [&](const std::string& text) { return read_judge_reply(options_, text).kind != Kind::kUnreadable; });
  }

  RewardResult abstain(Verdict verdict, const std::string& cause, const std::string& detail) const {
    {
      const std::lock_guard lock(mutex_);
      if (causes_[cause]++ == 0)
        log_warning("judge.abstained", {{"text", message("the judge abstains: ", detail, " (said once for each cause; metric/judge/abstained counts)")}});
    }
    RewardResult r;
    r.verdict = verdict;
    r.detail = detail;
    r.columns["judge_abstained"] = cause;
    return r;
  }

  RewardResult judge(const Prompt& prompt, const std::string& answer) const {
    const int needed = options_.votes / 2 + 1;
    int yes = 0, no = 0;
    std::vector<double> scores;
    std::string reason;
    RewardResult failure;
    for (int vote = 0; vote < options_.votes; ++vote) {
      const ChatReply reply = ask(prompt, answer, vote);
      if (reply.status == ChatReply::Status::kText) {
        const JudgeVerdict v = read_judge_reply(options_, reply.text);
        if (v.kind == Kind::kUnreadable) {
          failure = abstain(Verdict::kAbstain, "unreadable", message("the reply is no verdict: '", reply.text.substr(0, 120), "'"));
        } else if (v.kind == Kind::kUnclear) {
          failure = abstain(Verdict::kAbstain, "unclear", "the judge says that it is unclear");
        } else {
          (v.kind == Kind::kYes ? yes : no) += 1;
          scores.push_back(v.score);
          if (reason.empty()) reason = v.reason;
        }
      } else {
        const bool late = reply.status == ChatReply::Status::kTimeout;
        failure = abstain(late ? Verdict::kTimeout : Verdict::kError, reply.cause, reply.text);
      }
      const int left = options_.votes - vote - 1;
      if (options_.scale <= 0 && (yes >= needed || no >= needed)) break;
      if (std::max(yes, no) + left < needed && options_.scale <= 0) break;
    }
    const bool decided = options_.scale > 0 ? static_cast<int>(scores.size()) >= needed : yes >= needed || no >= needed;
    if (!decided) {
      if (options_.votes == 1) return failure;
      RewardResult r = abstain(failure.detail.empty() ? Verdict::kAbstain : failure.verdict, "no majority",
                               message("no majority: ", yes, " yes, ", no, " no of ", options_.votes, failure.detail.empty() ? "" : "; " + failure.detail));
      return r;
    }
    RewardResult r;
    if (options_.scale > 0) {
      std::sort(scores.begin(), scores.end());
      r.value = options_.wrong + (options_.correct - options_.wrong) * static_cast<float>(scores[(scores.size() - 1) / 2]);
    } else {
      r.verdict = yes >= needed ? Verdict::kCorrect : Verdict::kWrong;
      r.value = yes >= needed ? options_.correct : options_.wrong;
    }
    if (options_.votes > 1) r.columns["judge_votes"] = message(yes, " yes, ", no, " no");
    if (!reason.empty()) r.columns["judge_reason"] = reason;
    return r;
  }

  JudgeOptions options_;
  ChatClient client_;
  mutable ReplyCache cache_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::int64_t> causes_;
  mutable ThreadPool pool_;  // last: its tasks use the rest
};

JudgeOptions read_options(ConfigReader& o) {
  JudgeOptions j;
  const std::string mode = o.get_choice("mode", "answer", std::array<std::string, 3>{"answer", "format", "rubric"});
  j.mode = mode == "answer" ? Mode::kAnswer : mode == "format" ? Mode::kFormat : Mode::kRubric;
  if (j.mode == Mode::kAnswer) o.reject("rubric", "has no effect with mode: answer; use mode: rubric");
  else j.rubric = o.get<std::string>("rubric", "");
  if (j.mode == Mode::kRubric && j.rubric.empty()) o.fail("rubric", "is needed: the criteria in words");
  const bool ab = o.get_choice("style", "direct", std::array<std::string, 2>{"direct", "ab"}) == "ab";
  if (ab && j.mode != Mode::kAnswer) o.fail("style", "ab compares two answers; it needs mode: answer");
  j.style = ab ? JudgeOptions::Style::kAb : JudgeOptions::Style::kDirect;
  if (j.mode == Mode::kRubric) j.scale = o.get_in<double>("scale", 0, 0, 1e6);
  else o.reject("scale", "has an effect with mode: rubric only");
  const std::string reply = o.get_choice("reply", j.scale > 0 ? "json" : "word", std::array<std::string, 2>{"word", "json"});
  j.reply = reply == "json" ? JudgeOptions::Reply::kJson : JudgeOptions::Reply::kWord;
  if (j.scale > 0 && reply == "word") o.fail("reply", "a score on a scale comes as JSON; leave `reply` out");
  j.prompt = o.get<std::string>("prompt", "");
  if (!j.prompt.empty()) {
    std::vector<std::string> names;
    try {
      names = template_names(j.prompt);
    } catch (const ConfigError& e) {
      o.fail("prompt", e.what());
    }
    const auto uses = [&](const char* name) { return std::find(names.begin(), names.end(), name) != names.end(); };
    if (j.mode != Mode::kAnswer ? !uses("completion") : ab ? !uses("answer_a") || !uses("answer_b") : !uses("answer") || !uses("reference"))
      o.fail("prompt", j.mode != Mode::kAnswer ? "must show {completion}" : ab ? "must show {answer_a} and {answer_b}" : "must show {answer} and {reference}");
  }
  j.votes = o.get_in<int>("votes", 1, 1, 99);
  if (j.votes % 2 == 0) o.fail("votes", message("= ", j.votes, "; an odd number decides every question"));
  j.temperature = o.get_in<double>("temperature", 0, 0, 10);
  if (j.votes > 1 && j.temperature == 0 && !ab)
    o.fail("votes", "at temperature 0 every vote is the same; set temperature (0.7), or style: ab, whose votes turn the two answers around");
  j.max_tokens = o.get_in<int>("max_tokens", 1024, 1, 1 << 20);
  j.max_chars = o.get_in<int>("max_chars", 4000, 16, 1 << 20);
  j.concurrency = o.get_in<int>("concurrency", 8, 1, 1024);
  j.cache = o.get<std::string>("cache", "");
  j.correct = o.get_in<float>("correct", 1.f, -1e6f, 1e6f);
  j.wrong = o.get_in<float>("wrong", 0.f, -1e6f, 1e6f);
  return j;
}

}  // namespace

std::unique_ptr<RewardFunction> make_llm_judge(JudgeOptions options, ChatClient client) {
  return std::make_unique<Judge>(std::move(options), std::move(client));
}

std::unique_ptr<RewardFunction> make_llm_judge(ConfigReader& options, const std::function<ChatClient(ConfigReader&)>& make_client) {
  if (!make_client) options.fail("name", "judge asks a model, and this program has no client for one built in");
  JudgeOptions judge = read_options(options);
  ChatClient client = make_client(options);
  auto made = std::make_unique<Judge>(std::move(judge), std::move(client));
  if (options.get<bool>("start_check", true)) {
    try {
      made->start_check();
    } catch (const Error& e) {
      options.fail("name", message("the judge's model fails its start check: ", e.what(), "; start_check: false leaves the check out"));
    }
  }
  return made;
}

}  // namespace r1
