#include "distill/rewrite.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/rng.h"
#include "core/signals.h"
#include "rewards/completion_text.h"
#include "rewards/judge/prompt.h"

namespace r1 {

const char* const kRewritePrompt =
    "Below are a question and somebody's working of it, which is right but hard to read.\n"
    "Write the working anew, as a careful person who thinks aloud would: in the first person, in whole sentences, in the language of the question, "
    "each "
    "step in its place, doubts and checks included, nothing repeated and no new facts. Do not mention that a working was given to you.\n"
    "Reply with exactly this form and nothing else: <think>the working</think>, and after it a short summary for the reader that ends with the same "
    "final "
    "answer, written as in the working given (in \\boxed{} if it is there).\n\n"
    "Question:\n{question}\n\nWorking:\n{completion}\n";

void check_rewrite_prompt(const std::string& text) {
  const std::vector<std::string> names = template_names(text);
  if (std::find(names.begin(), names.end(), "completion") == names.end())
    throw ConfigError("rewrite.prompt holds no {completion}, so the model would not see what to rewrite");
  for (const std::string& name : names)
    if (name != "question" && name != "reference" && name != "completion")
      throw ConfigError(message("rewrite.prompt holds {", name, "}; it can hold {question}, {reference} and {completion}"));
}

RawRewrite rewrite_one(const RewriteTask& task, const RewriterInfo& info, const ChatClient& client, const FilterChain& chain, const Rubric* rubric) {
  PromptFields fields;
  fields.question = question_of(task.prompt);
  fields.reference = task.prompt.reference;
  fields.completion = task.source;
  ChatRequest request;
  request.messages = {{"user", fill_template(info.prompt, fields)}};
  request.temperature = info.temperature;
  request.max_tokens = info.max_new_tokens;
  request.seed = draw_bits({info.seed, 0, task.index, static_cast<std::uint32_t>(task.sample)}, 0) >> 33;
  const ChatReply reply = client.ask(request);
  if (reply.cause == "interrupted") throw Interrupted(reply.text);
  RawRewrite out;
  out.rewriter = info.id();
  if (reply.status != ChatReply::Status::kText) {
    if (reply.cause != "HTTP 400" && reply.cause != "HTTP 413" && reply.cause != "HTTP 422" && reply.cause != "does not fit")
      throw Error(message("rewriting: ", reply.text));
    out.why = "refused";
    return out;
  }
  out.text = std::string(trim(reply.text));
  Completion c;
  c.text = out.text;
  c.stop = reply.finish == "length" ? StopReason::kLength : StopReason::kEos;
  if (reply.tokens > 0) c.tokens.assign(static_cast<std::size_t>(reply.tokens), 0);  // for what counts them
  FormatOptions form;
  form.answer_tag = false;
  const FormatVerdict verdict = check_format(c.text, false, c.stop, form);
  if (verdict.value < 1.f) {
    out.why = message("format: ", verdict.why);
    return out;
  }
  if (rubric) {
    out.score = rubric->score(SampleGroup{task.prompt, {c}}).at(0);
    if (task.score && task.score->verdict == Verdict::kCorrect && out.score.verdict != Verdict::kCorrect) {
      out.why = message("answer: ", to_string(out.score.verdict));
      return out;
    }
  }
  if (const auto rejection = chain.judge(task.prompt, c, out.score)) {
    out.why = message(rejection->filter, ": ", rejection->why);
    return out;
  }
  out.kept = true;
  return out;
}

void rewrite_samples(RawFile& file, const std::vector<Kept>& kept, const RewriteOptions& o, const ChatClient& client, const FilterChain& chain,
                     const Rubric* rubric) {
  const std::string id = o.info.id();
  std::vector<Kept> missing;
  for (const Kept& k : kept)
    if (!file.rewrite(k.teacher, k.prompt, k.sample, id)) missing.push_back(k);
  std::atomic<std::size_t> next{0};
  std::int64_t done = static_cast<std::int64_t>(kept.size() - missing.size());
  std::exception_ptr failure;
  std::mutex mutex;
  const auto worker = [&] {
    try {
      for (std::size_t i; (i = next++) < missing.size();) {
        throw_if_stopped();
        const Kept& k = missing[i];
        const RawPrompt prompt = file.prompt(k.prompt);
        const auto sample = file.sample(k.teacher, k.prompt, k.sample);
        R1_CHECK(sample, "sample ", k.sample, " of prompt ", k.prompt, " is not there");
        const std::vector<Score> scores = file.scores(k.teacher, k.prompt);
        const auto number = static_cast<std::size_t>(k.sample);
        const RewriteTask task{prompt.prompt, k.prompt, k.sample, whole_text(prompt.renders.at(k.teacher), sample->drawn),
                               number < scores.size() ? &scores[number] : nullptr};
        file.add_rewrite(k.teacher, k.prompt, k.sample, rewrite_one(task, o.info, client, chain, rubric));
        const std::lock_guard lock(mutex);
        if (o.progress) o.progress(++done, static_cast<std::int64_t>(kept.size()));
      }
    } catch (const std::exception&) {
      next = missing.size();  // the others end too
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < std::min<int>(o.parallel, static_cast<int>(missing.size())); ++i) threads.emplace_back(worker);
  for (std::thread& t : threads) t.join();
  file.sync();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace r1
