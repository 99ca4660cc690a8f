#include "recipes/engine_chat.h"

#include <atomic>
#include <chrono>
#include <thread>

#include <doctest/doctest.h>

#include "core/error.h"
#include "rewards/judge/judge.h"
#include "rollout/scripted_engine.h"

namespace r1 {
namespace {

using Status = ChatReply::Status;

Prompt render(const std::vector<Message>& messages) {
  Prompt p;
  for (const Message& m : messages) p.text += m.role + ": " + m.content + "\n";
  p.tokens = {1, 2, 3};
  return p;
}
ChatRequest question(const std::string& text, std::uint64_t seed = 0) {
  ChatRequest r;
  r.messages = {{"user", text}};
  r.seed = seed;
  r.max_tokens = 7;
  return r;
}

TEST_CASE("questions of many threads are answered, each its own") {
  std::atomic<int> at_once = 0;
  auto engine = std::make_shared<ScriptedEngine>([&](const RolloutRequest& r, int) {
    Completion c;
    CHECK(r.sampling.temperature == 0.f);
    CHECK(r.sampling.max_new_tokens == 7);
    c.text = "re " + r.prompt.text;
    c.stop = StopReason::kEos;
    ++at_once;
    return c;
  });
  const ChatClient client = make_engine_chat(engine, render, "scripted", 30);
  std::vector<std::thread> threads;
  std::vector<std::string> replies(12);
  for (std::size_t i = 0; i < replies.size(); ++i)
    threads.emplace_back([&, i] { replies[i] = client.ask(question(std::to_string(i))).text; });
  for (std::thread& t : threads) t.join();
  for (std::size_t i = 0; i < replies.size(); ++i) CHECK(replies[i] == "re user: " + std::to_string(i) + "\n");
}

TEST_CASE("a question that does not fit, a model that fails, a late one; the next one is answered") {
  auto engine = std::make_shared<ScriptedEngine>([](const RolloutRequest& r, int) {
    if (r.prompt.text.find("break") != std::string::npos) throw NumericError("NaN in layer 3");
    if (r.prompt.text.find("slow") != std::string::npos) std::this_thread::sleep_for(std::chrono::milliseconds(300));
    Completion c;
    c.text = "fine";
    c.stop = StopReason::kEos;
    return c;
  });
  const auto refuses = [](const std::vector<Message>& messages) {
    if (messages[0].content == "long") throw ConfigError("9000 tokens do not fit");
    return render(messages);
  };
  const ChatClient client = make_engine_chat(engine, refuses, "scripted", 0.1);
  const ChatReply longer = client.ask(question("long"));
  CHECK(longer.cause == "does not fit");
  CHECK(longer.text.find("9000 tokens") != std::string::npos);
  CHECK(client.ask(question("break")).cause == "model failed");
  CHECK(client.ask(question("slow")).status == Status::kTimeout);
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  CHECK(client.ask(question("ok")).text == "fine");
}

TEST_CASE("the judge in front of an engine") {
  auto engine = std::make_shared<ScriptedEngine>([](const RolloutRequest& r, int) {
    Completion c;
    c.text = r.prompt.text.find("\ntwo\n") != std::string::npos ? "<think>hm</think>CORRECT" : "INCORRECT";
    c.stop = StopReason::kEos;
    return c;
  });
  const auto reward = make_llm_judge(JudgeOptions{}, make_engine_chat(engine, render, "scripted", 30));
  SampleGroup group;
  group.prompt.reference = "2";
  for (const char* text : {"two", "three"}) {
    group.completions.emplace_back().text = text;
    group.completions.back().stop = StopReason::kEos;
  }
  std::vector<RewardResult> out(2);
  reward->score(group, out);
  CHECK(out[0].value == 1.f);
  CHECK(out[1].verdict == Verdict::kWrong);
}

}  // namespace
}  // namespace r1
