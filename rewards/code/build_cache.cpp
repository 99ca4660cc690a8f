#include "rewards/code/build_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"

namespace r1::code {
namespace {

namespace fs = std::filesystem;

// A file is a header, the key, the bytes.
struct Header {
  char magic[8] = {'r', '1', 'b', 'u', 'i', 'l', 'd', '1'};
  std::uint64_t key_size = 0, size = 0;
  Digest digest{};  // of key and bytes: a file that was cut or damaged is not one
};
constexpr const char* kSuffix = ".built";
constexpr const char* kNewPrefix = "new-";

Digest digest_of_both(std::string_view key, std::string_view bytes) {
  Hasher h;
  h.update_field(key);
  h.update_field(bytes);
  return h.digest();
}

void check_folder(const fs::path& folder) {
  const auto refuse = [&](const std::string& why, const char* remedy) {
    throw Error(message("the code runner's cache folder ", folder.string(), " ", why, ". ", remedy));
  };
  std::error_code error;
  fs::create_directories(folder.parent_path(), error);
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    refuse(message("cannot be made: ", std::strerror(errno)), "Name one that this user may write to.");
  struct stat st;
  if (lstat(folder.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) refuse("is not a folder", "Name another one.");
  if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
    refuse(message("belongs to user ", st.st_uid, " with mode ", st.st_mode & 01000 ? "1" : "", (st.st_mode >> 6) & 7,
                   (st.st_mode >> 3) & 7, st.st_mode & 7, ", so that others could put programs into it"),
           "Name one that belongs to the user who runs this and that only he may write to (chmod 700).");
}

// The oldest files go until nine tenths of the limit are left, so that not every store looks through the folder in vain.
void prune(const fs::path& folder, std::int64_t most) {
  struct File {
    fs::path path;
    std::int64_t size;
    fs::file_time_type used;
  };
  std::vector<File> files;
  std::int64_t sum = 0;
  std::error_code error;
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(1);
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    std::error_code none;
    if (entry.path().filename().string().rfind(kNewPrefix, 0) == 0 && entry.last_write_time(none) < old)
      fs::remove(entry.path(), none);  // of a process that was killed
    if (entry.path().extension() != kSuffix) continue;
    std::error_code gone;
    const File f{entry.path(), static_cast<std::int64_t>(entry.file_size(gone)), entry.last_write_time(gone)};
    if (gone) continue;
    sum += f.size;
    files.push_back(f);
  }
  if (sum <= most) return;
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.used < b.used; });
  for (const File& f : files) {
    if (sum <= most / 10 * 9) return;
    fs::remove(f.path, error);
    sum -= f.size;
  }
}

}  // namespace

BuildCache::BuildCache(Options options) : options_(std::move(options)) {
  if (!options_.folder.empty()) check_folder(options_.folder);
}

fs::path BuildCache::file_of(const std::string& key) const { return options_.folder / (to_hex(digest_of(key)) + kSuffix); }

BuildCache::Bytes BuildCache::find(const std::string& key) {
  {
    const std::scoped_lock lock(mutex_);
    if (const auto it = known_.find(key); it != known_.end()) {
      used_.splice(used_.begin(), used_, it->second);
      return it->second->second;
    }
  }
  if (options_.folder.empty()) return nullptr;
  Bytes bytes = read(key);
  if (bytes) remember(key, bytes);
  return bytes;
}

void BuildCache::store(const std::string& key, Bytes bytes) {
  if (!options_.folder.empty()) write(key, *bytes);
  remember(key, std::move(bytes));
}

void BuildCache::remember(const std::string& key, Bytes bytes) {
  const auto size = [](const std::pair<std::string, Bytes>& entry) { return entry.first.size() + entry.second->size(); };
  const std::size_t most = static_cast<std::size_t>(options_.memory_mb) << 20;
  const std::scoped_lock lock(mutex_);
  if (known_.contains(key) || key.size() + bytes->size() > most / 4) return;
  used_.emplace_front(key, std::move(bytes));
  known_[key] = used_.begin();
  for (bytes_ += size(used_.front()); bytes_ > most; used_.pop_back()) {
    bytes_ -= size(used_.back());
    known_.erase(used_.back().first);
  }
}

BuildCache::Bytes BuildCache::read(const std::string& key) const {
  const fs::path path = file_of(key);
  std::string file;
  try {
    if (!fs::exists(path)) return nullptr;
    file = read_file(path);
  } catch (const std::exception&) {  // another process removed it meanwhile
    return nullptr;
  }
  Header h;
  const auto damaged = [&] {
    std::error_code ignored;
    fs::remove(path, ignored);
    return nullptr;
  };
  if (file.size() < sizeof h) return damaged();
  std::memcpy(&h, file.data(), sizeof h);
  if (std::memcmp(h.magic, Header{}.magic, sizeof h.magic) != 0 || h.key_size > file.size() ||
      file.size() - sizeof h - h.key_size != h.size)
    return damaged();
  const std::string_view whole(file), found = whole.substr(sizeof h, h.key_size), body = whole.substr(sizeof h + h.key_size);
  if (digest_of_both(found, body) != h.digest) return damaged();
  if (found != key) return nullptr;  // another program with this file name
  (void)utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // used now
  return std::make_shared<const std::string>(body);
}

void BuildCache::write(const std::string& key, const std::string& bytes) const {
  Header h;
  h.key_size = key.size();
  h.size = bytes.size();
  h.digest = digest_of_both(key, bytes);
  std::string file(reinterpret_cast<const char*>(&h), sizeof h);
  file += key;
  file += bytes;
  if (static_cast<std::int64_t>(file.size()) > options_.disk_mb << 20) return;
  std::string name = (options_.folder / (kNewPrefix + std::string("XXXXXX"))).string();
  const int fd = mkostemp(name.data(), O_CLOEXEC);  // mode 0600
  if (fd < 0) return;
  bool ok = true;
  for (std::size_t at = 0; ok && at < file.size();) {
    const ssize_t n = ::write(fd, file.data() + at, file.size() - at);
    ok = n > 0;
    at += ok ? static_cast<std::size_t>(n) : 0;
  }
  close(fd);
  if (!ok || rename(name.c_str(), file_of(key).c_str()) != 0) {
    (void)unlink(name.c_str());
    return;
  }
  prune(options_.folder, options_.disk_mb << 20);
}

namespace {
std::mutex cache_lock;
std::shared_ptr<BuildCache>& process_cache() {
  static std::shared_ptr<BuildCache> cache = std::make_shared<BuildCache>(BuildCache::Options{});
  return cache;
}
}  // namespace

std::shared_ptr<BuildCache> build_cache() {
  const std::scoped_lock lock(cache_lock);
  return process_cache();
}

void set_build_cache(const BuildCache::Options& options) {
  auto made = std::make_shared<BuildCache>(options);
  const std::scoped_lock lock(cache_lock);
  process_cache() = std::move(made);
}

}  // namespace r1::code
