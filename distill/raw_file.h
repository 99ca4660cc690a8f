// The file of everything that was drawn: append-only JSON lines, from which the finished set is a pure function.
//   {"r1_samples":1, "fingerprint", "seed", "rewards", "teachers":[..], "prompts":N}   what the samples depend on
//   {"p", "id", "task", "messages", "answer", "columns", "renders":[{"digest","prefill"} a teacher]}   one a prompt
//   {"t","p","s", "text","stop", ...}      a sample: teacher, prompt, number
//   {"t","p","scores":[..]}                of a prompt's samples, once all of a teacher's are there
//   {"t","p","s","rewriter", "rewrite", ...}   what the second model made of a sample
// The lines after the prompts come in any order; the last of equal keys counts. A line that a kill cut off is dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/files.h"
#include "core/types.h"
#include "distill/sample_source.h"

namespace r1 {

// What the file says of a teacher.
struct TeacherInfo {
  std::string name, dtype, prompt_template, template_digest, template_variables;
  bool local = true;
  SamplingOptions sampling;
};

struct RawHeader {
  std::string fingerprint;     // of all that samples depend on, but for how many there are
  std::uint64_t seed = 0;
  std::string rewards;         // the rewards' settings as JSON text; "" = not scored
  std::vector<TeacherInfo> teachers;
  std::size_t prompts = 0;
};

struct RawPrompt {
  struct Render {
    std::string digest;   // of the prompt's tokens; "" = the server's own
    std::string prefill;  // the opened think block that the prompt ends with: "<think>\n"
  };
  Prompt prompt;  // without tokens and text
  std::vector<Render> renders;  // one a teacher
};

struct RawSample {
  std::size_t teacher = 0, prompt = 0;
  int sample = 0;
  Drawn drawn;
  std::string program;  // version that drew it
};

struct RawRewrite {
  std::string rewriter;   // names model and settings
  std::string text;       // the readable form; what it was made from is the sample
  bool kept = false;
  std::string why;        // not kept: the check that it failed
  Score score;            // of the new text
};

// Thread-safe but for moving. Errors: DataError naming file and line, IoError.
class RawFile {
 public:
  // Opens the file, or makes it of header and prompts. ConfigError if it was made under another fingerprint.
  static std::unique_ptr<RawFile> open(const std::filesystem::path& path, const RawHeader& header, const std::vector<RawPrompt>& prompts);
  // A file that is there, whatever it was made from.
  static std::unique_ptr<RawFile> open(const std::filesystem::path& path);

  const RawHeader& header() const { return header_; }
  const std::filesystem::path& path() const { return path_; }
  int samples(std::size_t teacher) const;  // largest number of a sample of any prompt + 1
  std::size_t num_samples() const;         // in all
  bool has(std::size_t teacher, std::size_t prompt, int sample) const;
  // The weights behind the teacher's samples so far; "" = none or not known.
  std::string digest(std::size_t teacher) const;

  RawPrompt prompt(std::size_t prompt) const;
  std::optional<RawSample> sample(std::size_t teacher, std::size_t prompt, int sample) const;
  std::vector<Score> scores(std::size_t teacher, std::size_t prompt) const;  // empty = not scored
  std::optional<RawRewrite> rewrite(std::size_t teacher, std::size_t prompt, int sample, const std::string& rewriter) const;

  // Throws ConfigError if the weights are others than those of the teacher's earlier samples.
  void add(const RawSample& sample);
  void add_scores(std::size_t teacher, std::size_t prompt, const std::vector<Score>& scores);
  void add_rewrite(std::size_t teacher, std::size_t prompt, int sample, const RawRewrite& rewrite);
  void sync();

 private:
  struct Span {
    std::uint64_t begin = 0;
    std::uint32_t size = 0;  // 0 = not there
  };
  using Key = std::tuple<std::size_t, std::size_t, int, std::string>;  // teacher, prompt, sample, rewriter
  explicit RawFile(std::filesystem::path path);
  void load();
  void enter(const std::string& line, std::uint64_t begin);
  std::vector<Span>& samples_of(std::size_t teacher, std::size_t prompt);
  std::string read(const Span& span) const;
  Span append(std::string line);
  [[noreturn]] void bad_line(const char* why) const;

  std::filesystem::path path_;
  RawHeader header_;
  std::unique_ptr<File> in_, out_;
  std::uint64_t size_ = 0;
  std::int64_t lines_ = 0;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<Span> prompts_;
  std::vector<std::vector<std::vector<Span>>> samples_;  // [teacher][prompt][sample]
  std::vector<std::vector<Span>> scores_;                // [teacher][prompt]
  std::map<Key, Span> rewrites_;
  std::vector<std::string> digests_;                     // [teacher]
  std::size_t count_ = 0;
};

}  // namespace r1
