#include "recipes/engine_chat.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "core/error.h"

namespace r1 {
namespace {

using Clock = std::chrono::steady_clock;
using Status = ChatReply::Status;

class EngineChat {
 public:
  EngineChat(std::shared_ptr<RolloutEngine> engine, std::function<Prompt(const std::vector<Message>&)> render, double timeout_s)
      : engine_(std::move(engine)), render_(std::move(render)), timeout_s_(timeout_s), thread_([this] { run(); }) {}
  ~EngineChat() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      for (const auto& [id, question] : running_) engine_->cancel(id);
    }
    come_.notify_all();
    thread_.join();
  }

  ChatReply ask(const ChatRequest& request) {
    auto question = std::make_shared<Question>();
    question->request = request;
    std::future<ChatReply> reply = question->reply.get_future();
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(question);
    }
    come_.notify_one();
    if (reply.wait_for(std::chrono::duration<double>(timeout_s_)) == std::future_status::ready) return reply.get();
    {
      const std::lock_guard lock(mutex_);
      question->given_up = true;
      if (question->id != 0) engine_->cancel(question->id);
    }
    return {Status::kTimeout, message("the judge's model gave no reply within ", timeout_s_, " s (timeout)"), "timeout"};
  }

 private:
  struct Question {
    ChatRequest request;
    std::promise<ChatReply> reply;
    RequestId id = 0;
    bool given_up = false;
  };

  void submit(const std::shared_ptr<Question>& question) {
    RolloutRequest r;
    r.prompt = render_(question->request.messages);
    r.sampling.temperature = static_cast<float>(question->request.temperature);
    r.sampling.max_new_tokens = question->request.max_tokens;
    r.sampling.top_p = static_cast<float>(question->request.top_p);
    r.sampling.stop_strings = question->request.stop;
    r.key = {question->request.seed, 0, 0, 0};
    const RequestId id = engine_->submit(std::move(r));
    const std::lock_guard lock(mutex_);
    question->id = id;
    running_[id] = question;
    if (question->given_up || ended_) engine_->cancel(id);
  }

  void finish(RolloutEvent&& event) {
    std::shared_ptr<Question> question;
    {
      const std::lock_guard lock(mutex_);
      const auto found = running_.find(event.request);
      if (found == running_.end()) return;
      question = found->second;
      question->id = 0;
      running_.erase(found);
    }
    if (event.completion.stop == StopReason::kAborted) question->reply.set_value({Status::kFailed, "the question was cancelled", "cancelled"});
    else
      question->reply.set_value({Status::kText,
                                 std::move(event.completion.text),
                                 {},
                                 {},
                                 event.completion.stop == StopReason::kLength ? "length" : "stop",
                                 static_cast<std::int64_t>(event.completion.tokens.size())});
  }

  void fail_all(const std::string& why) {
    std::map<RequestId, std::shared_ptr<Question>> failed;
    {
      const std::lock_guard lock(mutex_);
      failed.swap(running_);
      for (const auto& [id, question] : failed) question->id = 0;
    }
    for (const auto& [id, question] : failed) question->reply.set_value({Status::kFailed, "the judge's model failed: " + why, "model failed"});
  }

  void run() {
    for (;;) {
      std::deque<std::shared_ptr<Question>> batch;
      {
        std::unique_lock lock(mutex_);
        come_.wait(lock, [&] { return ended_ || !waiting_.empty(); });
        if (ended_) return;
        batch.swap(waiting_);
      }
      for (const std::shared_ptr<Question>& question : batch) {
        {
          const std::lock_guard lock(mutex_);
          if (question->given_up) continue;
        }
        try {
          submit(question);
        } catch (const std::exception& e) {
          question->reply.set_value({Status::kFailed, message("the judge's model cannot take the question: ", e.what()), "does not fit"});
        }
      }
      try {
        engine_->wait([&](RolloutEvent&& event) {
          if (event.kind == RolloutEvent::Kind::kFinished) finish(std::move(event));
        });
      } catch (const std::exception& e) {
        fail_all(e.what());
      }
    }
  }

  std::shared_ptr<RolloutEngine> engine_;
  std::function<Prompt(const std::vector<Message>&)> render_;
  double timeout_s_;
  std::mutex mutex_;
  std::condition_variable come_;
  std::deque<std::shared_ptr<Question>> waiting_;
  std::map<RequestId, std::shared_ptr<Question>> running_;
  bool ended_ = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace

ChatClient make_engine_chat(std::shared_ptr<RolloutEngine> engine, std::function<Prompt(const std::vector<Message>&)> render,
                            std::string identity, double timeout_s) {
  auto chat = std::make_shared<EngineChat>(std::move(engine), std::move(render), timeout_s);
  return {[chat](const ChatRequest& request) { return chat->ask(request); }, std::move(identity)};
}

}  // namespace r1
