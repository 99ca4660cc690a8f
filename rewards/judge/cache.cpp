#include "rewards/judge/cache.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json_text.h"
#include "core/log.h"

namespace r1 {

ReplyCache::ReplyCache(const std::filesystem::path& file, std::size_t max_entries) : max_entries_(max_entries) {
  if (!file.empty()) load(file);
}

void ReplyCache::load(const std::filesystem::path& file) {
  std::error_code ignored;
  std::string text;
  if (std::filesystem::exists(file, ignored)) text = read_file(file);
  std::size_t unreadable = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;  // torn
    const auto json = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin), text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    begin = end + 1;
    try {
      if (json.is_object()) {
        remember(digest_from_hex(json.value("key", "")), json.at("reply").get<std::string>());
        continue;
      }
    } catch (const Error&) {
    } catch (const nlohmann::json::exception&) {
    }
    ++unreadable;
  }
  if (unreadable > 0)
    log_warning("judge.cache", {{"text", message(file.string(), ": ", unreadable, " lines are no judge's replies and are left out")}});
  file_ = std::make_unique<File>(file, File::Mode::kAppend);
  if (!text.empty() && text.back() != '\n') file_->write("\n");
}

void ReplyCache::remember(const Digest& key, const std::string& reply) {
  if (!replies_.emplace(key, reply).second) return;
  order_.push_back(key);
  if (order_.size() <= max_entries_) return;
  replies_.erase(order_.front());
  order_.pop_front();
}

void ReplyCache::store(const Digest& key, const std::string& reply) {
  remember(key, reply);
  if (!file_) return;
  try {
    file_->write(message("{\"key\":\"", to_hex(key), "\",\"reply\":", json_quote(reply), "}\n"));
  } catch (const IoError& e) {
    log_warning("judge.cache", {{"text", message(e.what(), "; the judge goes on without writing its cache")}});
    file_.reset();
  }
}

ChatReply ReplyCache::get(const Digest& key, const std::function<ChatReply()>& ask, const std::function<bool(const std::string&)>& keep) {
  std::promise<ChatReply> promise;
  std::shared_future<ChatReply> other;
  {
    const std::lock_guard lock(mutex_);
    if (const auto kept = replies_.find(key); kept != replies_.end()) return {ChatReply::Status::kText, kept->second, {}};
    if (const auto asked = asked_.find(key); asked != asked_.end()) other = asked->second;
    else asked_.emplace(key, promise.get_future().share());
  }
  if (other.valid()) return other.get();
  try {
    ChatReply reply = ask();
    {
      const std::lock_guard lock(mutex_);
      if (reply.status == ChatReply::Status::kText && keep(reply.text)) store(key, reply.text);
      asked_.erase(key);
    }
    promise.set_value(reply);
    return reply;
  } catch (...) {
    const std::lock_guard lock(mutex_);
    asked_.erase(key);
    promise.set_exception(std::current_exception());
    throw;
  }
}

std::size_t ReplyCache::size() const {
  const std::lock_guard lock(mutex_);
  return replies_.size();
}

}  // namespace r1
