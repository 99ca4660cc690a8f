#include "distill/raw_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "core/error.h"
#include "distill/raw_json.h"

namespace r1 {
namespace {

using raw::Json;
namespace fs = std::filesystem;

}  // namespace

RawFile::RawFile(fs::path path) : path_(std::move(path)) {}

void RawFile::bad_line(const char* why) const {
  throw DataError(
      message(path_.string(), ":", lines_, ": this is no line of a file of samples (", why, "); delete the file, or name another output"));
}

std::unique_ptr<RawFile> RawFile::open(const fs::path& path, const RawHeader& header, const std::vector<RawPrompt>& prompts) {
  if (!fs::exists(path)) {
    AtomicFile file(path);
    file.write(raw::to_line(raw::to_json(header)) + "\n");
    for (std::size_t i = 0; i < prompts.size(); ++i) file.write(raw::to_line(raw::to_json(i, prompts[i])) + "\n");
    file.commit();
  }
  auto out = open(path);
  if (out->header_.fingerprint != header.fingerprint)
    throw ConfigError(message(path.string(), " holds samples of other prompts, models or settings (fingerprint ",
                              out->header_.fingerprint.substr(0, 8), ", now ", header.fingerprint.substr(0, 8),
                              "); give those again to go on, name another output, or delete it"));
  return out;
}

std::unique_ptr<RawFile> RawFile::open(const fs::path& path) {
  if (!fs::exists(path)) throw DataError(message("there is no file ", path.string()));
  auto out = std::unique_ptr<RawFile>(new RawFile(path));
  out->in_ = std::make_unique<File>(path, File::Mode::kRead);
  out->load();
  return out;
}

// Whole lines are indexed; behind the last line break is what a kill left of a write.
void RawFile::load() {
  std::string buffer;
  std::uint64_t begin = 0;  // of buffer, in the file
  std::vector<char> piece(1 << 20);
  for (std::uint64_t at = 0;;) {
    const ::ssize_t n = ::pread(in_->descriptor(), piece.data(), piece.size(), static_cast<::off_t>(at));
    if (n < 0) throw IoError(message(path_.string(), " cannot be read: ", std::strerror(errno)));
    if (n == 0) break;
    at += static_cast<std::uint64_t>(n);
    std::size_t scan = buffer.size();
    buffer.append(piece.data(), static_cast<std::size_t>(n));
    std::size_t from = 0;
    for (std::size_t end; (end = buffer.find('\n', scan)) != std::string::npos; scan = from = end + 1) {
      ++lines_;
      enter(buffer.substr(from, end - from), begin + from);
    }
    buffer.erase(0, from);
    begin += from;
  }
  size_ = begin;
  if (lines_ == 0 || prompts_.size() != header_.prompts) bad_line("the list of prompts is cut off");
  out_ = std::make_unique<File>(path_, File::Mode::kAppend);
  if (out_->size() != size_) out_->truncate(size_);
}

std::vector<RawFile::Span>& RawFile::samples_of(std::size_t teacher, std::size_t prompt) {
  if (teacher >= samples_.size() || prompt >= samples_[teacher].size()) bad_line("it names a teacher or prompt that the file does not have");
  return samples_[teacher][prompt];
}

void RawFile::enter(const std::string& line, std::uint64_t begin) {
  const Span span{begin, static_cast<std::uint32_t>(line.size())};
  try {
    const Json j = Json::parse(line);
    if (lines_ == 1) {
      header_ = raw::header_from(j);
      samples_.assign(header_.teachers.size(), std::vector<std::vector<Span>>(header_.prompts));
      scores_.assign(header_.teachers.size(), std::vector<Span>(header_.prompts));
      digests_.resize(header_.teachers.size());
      return;
    }
    if (j.contains("id")) {
      if (j.at("p") != prompts_.size()) bad_line("its prompts are out of order");
      prompts_.push_back(span);
      return;
    }
    const auto t = j.at("t").get<std::size_t>(), p = j.at("p").get<std::size_t>();
    std::vector<Span>& samples = samples_of(t, p);
    if (j.contains("scores")) {
      scores_[t][p] = span;
      return;
    }
    const auto s = j.at("s").get<std::size_t>();
    if (j.contains("rewrite")) {
      rewrites_[{t, p, static_cast<int>(s), j.at("rewriter").get<std::string>()}] = span;
      return;
    }
    if (s >= 1u << 20) bad_line("the sample's number is out of range");
    if (samples.size() <= s) samples.resize(s + 1);
    count_ += samples[s].size == 0;
    samples[s] = span;
    if (digests_[t].empty()) digests_[t] = j.value("digest", "");
  } catch (const std::invalid_argument& e) {
    bad_line(e.what());
  } catch (const Json::exception&) {
    bad_line("not the JSON that is expected");
  }
}

std::string RawFile::read(const Span& span) const {
  std::string out(span.size, '\0');
  for (std::size_t got = 0; got < out.size();) {
    const ::ssize_t n = ::pread(in_->descriptor(), out.data() + got, out.size() - got, static_cast<::off_t>(span.begin + got));
    if (n <= 0)
      throw IoError(message(path_.string(), " cannot be read at byte ", span.begin + got,
                            n < 0 ? std::string(": ") + std::strerror(errno) : "; did something shorten it?"));
    got += static_cast<std::size_t>(n);
  }
  return out;
}

RawFile::Span RawFile::append(std::string line) {
  const Span span{size_, static_cast<std::uint32_t>(line.size())};
  line += '\n';
  try {
    out_->write(line);
  } catch (const IoError&) {
    out_->truncate(size_);  // whole lines again
    throw;
  }
  size_ += line.size();
  return span;
}

int RawFile::samples(std::size_t teacher) const {
  const std::lock_guard lock(mutex_);
  std::size_t most = 0;
  for (const std::vector<Span>& of_prompt : samples_.at(teacher)) most = std::max(most, of_prompt.size());
  return static_cast<int>(most);
}

std::size_t RawFile::num_samples() const {
  const std::lock_guard lock(mutex_);
  return count_;
}

bool RawFile::has(std::size_t teacher, std::size_t prompt, int sample) const {
  const std::lock_guard lock(mutex_);
  const std::vector<Span>& samples = samples_.at(teacher).at(prompt);
  return static_cast<std::size_t>(sample) < samples.size() && samples[static_cast<std::size_t>(sample)].size > 0;
}

std::string RawFile::digest(std::size_t teacher) const {
  const std::lock_guard lock(mutex_);
  return digests_.at(teacher);
}

RawPrompt RawFile::prompt(std::size_t prompt) const {
  return raw::prompt_from(Json::parse(read(prompts_.at(prompt))));
}

std::optional<RawSample> RawFile::sample(std::size_t teacher, std::size_t prompt, int sample) const {
  Span span;
  {
    const std::lock_guard lock(mutex_);
    const std::vector<Span>& samples = samples_.at(teacher).at(prompt);
    if (static_cast<std::size_t>(sample) < samples.size()) span = samples[static_cast<std::size_t>(sample)];
  }
  if (span.size == 0) return std::nullopt;
  return raw::sample_from(Json::parse(read(span)));
}

std::vector<Score> RawFile::scores(std::size_t teacher, std::size_t prompt) const {
  Span span;
  {
    const std::lock_guard lock(mutex_);
    span = scores_.at(teacher).at(prompt);
  }
  std::vector<Score> out;
  if (span.size == 0) return out;
  const Json line = Json::parse(read(span));
  for (const Json& one : line.at("scores")) out.push_back(raw::score_from(one));
  return out;
}

std::optional<RawRewrite> RawFile::rewrite(std::size_t teacher, std::size_t prompt, int sample, const std::string& rewriter) const {
  Span span;
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = rewrites_.find({teacher, prompt, sample, rewriter}); it != rewrites_.end()) span = it->second;
  }
  if (span.size == 0) return std::nullopt;
  return raw::rewrite_from(Json::parse(read(span)));
}

void RawFile::add(const RawSample& s) {
  const std::string line = raw::to_line(raw::to_json(s));
  const std::lock_guard lock(mutex_);
  std::string& digest = digests_.at(s.teacher);
  if (!digest.empty() && !s.drawn.digest.empty() && digest != s.drawn.digest)
    throw ConfigError(message("the weights of ", header_.teachers.at(s.teacher).name, " are not those that drew the samples in ", path_.string(),
                              " (digest ", s.drawn.digest.substr(0, 8), ", there ", digest.substr(0, 8), "); name another output"));
  if (digest.empty()) digest = s.drawn.digest;
  std::vector<Span>& samples = samples_.at(s.teacher).at(s.prompt);
  if (samples.size() <= static_cast<std::size_t>(s.sample)) samples.resize(static_cast<std::size_t>(s.sample) + 1);
  Span& span = samples[static_cast<std::size_t>(s.sample)];
  count_ += span.size == 0;
  span = append(line);
}

void RawFile::add_scores(std::size_t teacher, std::size_t prompt, const std::vector<Score>& scores) {
  Json all = Json::array();
  for (const Score& s : scores) all.push_back(raw::to_json(s));
  const std::string line = raw::to_line({{"t", teacher}, {"p", prompt}, {"scores", all}});
  const std::lock_guard lock(mutex_);
  scores_.at(teacher).at(prompt) = append(line);
}

void RawFile::add_rewrite(std::size_t teacher, std::size_t prompt, int sample, const RawRewrite& rewrite) {
  Json j = {{"t", teacher}, {"p", prompt}, {"s", sample}};
  j.update(raw::to_json(rewrite));
  const std::string line = raw::to_line(j);
  const std::lock_guard lock(mutex_);
  rewrites_[{teacher, prompt, sample, rewrite.rewriter}] = append(line);
}

void RawFile::sync() { out_->sync(); }

}  // namespace r1
