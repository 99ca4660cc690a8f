// Replies of a judge by the digest of what it was asked: in memory, and in a file that later runs read.
#pragma once

#include <cstddef>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/digest.h"
#include "core/files.h"
#include "rewards/judge/chat.h"

namespace r1 {

// Thread-safe. Equal questions asked at the same time are asked once.
class ReplyCache {
 public:
  // `file` may be empty: memory alone. JSON lines {"key", "reply"}, appended; a torn last line (a crash) is left out.
  // Throws IoError if it cannot be read or written.
  explicit ReplyCache(const std::filesystem::path& file, std::size_t max_entries = 1'000'000);

  // The kept reply for `key`, else ask()'s, which is kept if it is a text and keep(text). What ask() throws goes to all
  // who waited for it.
  ChatReply get(const Digest& key, const std::function<ChatReply()>& ask, const std::function<bool(const std::string&)>& keep);
  std::size_t size() const;

 private:
  void load(const std::filesystem::path& file);
  void store(const Digest& key, const std::string& reply);
  void remember(const Digest& key, const std::string& reply);

  std::size_t max_entries_;
  mutable std::mutex mutex_;
  std::map<Digest, std::string> replies_;
  std::deque<Digest> order_;  // oldest first
  std::map<Digest, std::shared_future<ChatReply>> asked_;
  std::unique_ptr<File> file_;
};

}  // namespace r1
