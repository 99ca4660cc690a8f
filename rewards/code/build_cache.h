// Built programs, by what they were made from: in the memory of this process, and, if a folder is given, in files that
// other processes of the same user share. Nothing in a box ever sees it. Thread-safe; processes may use one folder at
// the same time: entries appear by rename and are checked when they are read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace r1::code {

class BuildCache {
 public:
  struct Options {
    std::filesystem::path folder;   // empty: memory alone. Made if absent, for this user only (mode 0700)
    std::int64_t memory_mb = 256;   // the least recently used go first, in memory and on disk
    std::int64_t disk_mb = 2048;
  };
  using Bytes = std::shared_ptr<const std::string>;

  // Throws Error if the folder cannot be made, belongs to another user or can be written by others: whoever writes to it
  // decides what programs are run.
  explicit BuildCache(Options options);

  // `key` says everything that the bytes depend on (source, compiler and its version, flags). It is kept whole and
  // compared whole, so two keys never share an entry, whoever made them up. nullptr if there is none.
  Bytes find(const std::string& key);
  // A folder that cannot be written to is no error: the next process builds again. Bytes larger than a
  // quarter of memory_mb, or than disk_mb, are not kept there.
  void store(const std::string& key, Bytes bytes);

  const Options& options() const { return options_; }

 private:
  Bytes read(const std::string& key) const;
  void write(const std::string& key, const std::string& bytes) const;
  void remember(const std::string& key, Bytes bytes);
  std::filesystem::path file_of(const std::string& key) const;

  const Options options_;
  std::mutex mutex_;
  std::list<std::pair<std::string, Bytes>> used_;  // latest first
  std::unordered_map<std::string, std::list<std::pair<std::string, Bytes>>::iterator> known_;
  std::size_t bytes_ = 0;
};

// The one of this process: in memory until a folder is set. Programs that run without isolation could write to a folder
// of their own user, so it is not used for them.
std::shared_ptr<BuildCache> build_cache();
void set_build_cache(const BuildCache::Options& options);  // throws as the constructor does

}  // namespace r1::code
