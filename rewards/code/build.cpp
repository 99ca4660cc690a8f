#include "rewards/code/build.h"

#include <sys/stat.h>

#include <filesystem>
#include <mutex>

#include "core/error.h"
#include "rewards/code/box_child.h"
#include "rewards/code/box_internal.h"
#include "rewards/code/build_cache.h"
#include "rewards/code/isolation.h"
#include "rewards/code/judge_internal.h"

namespace r1::code {
namespace {

constexpr const char* kAllHeaders = "#include <bits/stdc++.h>\n";

// A compiler needs more than a contest program, and its time is no fault of a slow test.
Limits build_limits() { return {90'000, 60'000, 2048, 64, 256, 256}; }

// Everything that the result depends on. The version is what the compiler says; an update that says the same is told by
// the time and size of its file.
std::string key_of(const Language& language, const std::vector<std::string>& argv, const std::vector<BoxFile>& files) {
  std::string key;
  const auto add = [&](const std::string& text) { key += std::to_string(text.size()) + ":" + text + "\n"; };
  add(language.name);
  add(toolchain_version(language));
  std::error_code none;
  const std::string real = std::filesystem::canonical(language.needs, none).string();
  struct stat st {};
  (void)stat(real.c_str(), &st);
  add(message(real, " ", st.st_size, " ", st.st_mtim.tv_sec, ".", st.st_mtim.tv_nsec));
  for (const std::string& word : argv) add(word);
  for (const BoxFile& f : files) add(f.name), add(f.bytes);
  return key;
}

std::shared_ptr<BuildCache> cache_in_use() {
  std::shared_ptr<BuildCache> cache = build_cache();
  return cache->options().folder.empty() || host_guarantees().namespaces ? cache : nullptr;
}

Job build_job(const Language& language, std::vector<std::string> argv, std::vector<BoxFile> files, const char* fetch) {
  Job job;
  job.argv = std::move(argv);
  job.files = std::move(files);
  job.folders = toolchain_folders(language);
  job.limits = build_limits();
  job.fetch = fetch;
  return job;
}

// The precompiled <bits/stdc++.h>, 120 MB of memory that all boxes map. -1: there is none (yet).
class AllHeaders {
 public:
  int get(const Language& language) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return -1;  // somebody is making it; a build without costs less than the wait
    if (!tried_) make(language);
    return fd_.get();
  }

 private:
  void make(const Language& language) {
    tried_ = true;
    std::vector<std::string> argv = language.build;
    argv.resize(argv.size() - 3);  // "-o main main.cpp"
    for (const char* word : {"-x", "c++-header", "-o", "pre.h.gch", "pre.h"}) argv.push_back(word);
    const std::vector<BoxFile> files = {{"pre.h", kAllHeaders}};
    const auto cache = cache_in_use();
    const std::string key = key_of(language, argv, files);
    // On disk only: the memory is held here.
    std::shared_ptr<const std::string> bytes = cache ? cache->find(key) : nullptr;
    if (!bytes) {
      Outcome o = run_in_box(build_job(language, argv, files, "pre.h.gch"));
      if (o.end != End::kExited || o.status != 0 || o.fetched.empty()) return;
      bytes = std::make_shared<const std::string>(std::move(o.fetched));
      if (cache && !cache->options().folder.empty()) cache->store(key, bytes);
    }
    fd_ = sealed_input(*bytes);
  }

  std::mutex mutex_;
  bool tried_ = false;
  Fd fd_;
};

AllHeaders& all_headers() {
  static AllHeaders one;
  return one;
}

}  // namespace

bool begins_with_all_headers(std::string_view program) {
  const auto skip_space = [&] {
    while (!program.empty() && (program[0] == ' ' || program[0] == '\t' || program[0] == '\n' || program[0] == '\r')) program.remove_prefix(1);
  };
  const auto skip = [&](std::string_view word) {
    skip_space();
    const bool there = program.substr(0, word.size()) == word;
    if (there) program.remove_prefix(word.size());
    return there;
  };
  if (program.substr(0, 3) == "\xef\xbb\xbf") program.remove_prefix(3);
  for (;;) {
    if (skip("//")) program.remove_prefix(std::min(program.find('\n'), program.size()));
    else if (skip("/*")) {
      const std::size_t end = program.find("*/");
      if (end == program.npos) return false;
      program.remove_prefix(end + 2);
    } else {
      break;
    }
  }
  return skip("#") && skip("include") && skip("<bits/stdc++.h>");
}

Built build_program(const Language& language, const std::string& program, const std::vector<BoxFile>& files) {
  Built built;
  if (language.build.empty()) {
    built.kind = Built::kMade;
    return built;
  }
  std::vector<std::string> argv = command(language.build, language, program, build_limits());
  std::vector<BoxFile> all = files;
  all.push_back({file_name(language, program), program});
  const auto cache = cache_in_use();
  const std::string key = key_of(language, argv, all);
  if (cache && (built.bytes = cache->find(key))) {
    built.kind = Built::kMade;
    built.from_cache = true;
    return built;
  }
  const int headers = language.name == "cpp" && files.empty() && begins_with_all_headers(program) ? all_headers().get(language) : -1;
  if (headers >= 0) {
    argv.insert(argv.end(), {"-include", "pre.h"});
    all.push_back({"pre.h", kAllHeaders});
    all.push_back({"pre.h.gch", message("/proc/self/fd/", kAssetFd), false, true});
  }
  Job job = build_job(language, std::move(argv), std::move(all), "main");
  job.asset_fd = headers;
  Outcome o = run_in_box(job);
  if (o.end == End::kInternal) {
    built.reason = "build: " + o.detail;
  } else if (o.end != End::kExited || o.status != 0 || o.fetched.empty()) {
    built.kind = Built::kRefused;
    built.reason = story(o);
  } else {
    built.kind = Built::kMade;
    built.bytes = std::make_shared<const std::string>(std::move(o.fetched));
    if (cache) cache->store(key, built.bytes);
  }
  return built;
}

void add_program(Job& job, const Language& language, const std::string& program, const Built& built) {
  job.argv = command(language.run, language, program, job.limits);
  job.folders = toolchain_folders(language);
  job.limits.processes += language.own_threads;
  if (built.bytes) job.files.push_back({"main", *built.bytes, true});
  else job.files.push_back({language.file, program});
}

}  // namespace r1::code
