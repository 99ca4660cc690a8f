// Files to rows, and the order in which prompts are handed out.
#include <algorithm>
#include <numeric>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "text/data_files.h"
#include "text/dataset.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

Row make_row(const std::string& file, std::int64_t line, const Json& object) {
  if (!object.is_object())
    throw DataError(message(file, ":", line, ": a row must be a JSON object, this is ", object.type_name()));
  Row row{file, line, {}};
  for (const auto& [name, value] : object.items()) row.columns[name] = value.dump();
  return row;
}

// The parser's message without its own prefix and position, which count inside one line.
std::string reason(const Json::parse_error& e) {
  const std::string what = e.what();
  const std::size_t colon = what.find(": ");
  return colon == std::string::npos ? what : what.substr(colon + 2);
}

class Reader {
 public:
  Reader(const DatasetOptions& options, std::vector<std::string>* skipped) : options_(options), skipped_(skipped) {}

  void read(const std::string& file) {
    const std::string text = read_data_file(file);
    const std::size_t bom = text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
    const std::size_t first = text.find_first_not_of(" \t\r\n", bom);
    const std::size_t before = rows_.size(), bad = bad_;
    if (first != std::string::npos && text[first] == '[') {
      array(file, text.substr(first));
    } else {
      lines(file, std::string_view(text).substr(bom));
    }
    if (rows_.size() == before && bad_ == bad && !full()) throw DataError(message(file, " holds no rows"));
  }

  bool full() const { return options_.limit > 0 && static_cast<std::int64_t>(rows_.size()) >= options_.limit; }
  std::vector<Row> take() { return std::move(rows_); }

 private:
  void lines(const std::string& file, std::string_view text) {
    std::int64_t number = 0;
    for (std::size_t begin = 0; begin < text.size() && !full();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      const std::string_view line = text.substr(begin, end - begin);
      begin = end + 1;
      ++number;
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      checked([&] {
        try {
          rows_.push_back(make_row(file, number, Json::parse(line)));
        } catch (const Json::parse_error& e) {
          throw DataError(message(file, ":", number, ": bad JSON: ", reason(e)));
        }
      });
    }
  }

  void array(const std::string& file, const std::string& text) {
    Json all;
    try {
      all = Json::parse(text);
    } catch (const Json::parse_error& e) {
      const auto at = std::min(e.byte, text.size());
      const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
      throw DataError(message(file, ":", line, ": bad JSON: ", reason(e)));
    }
    for (std::size_t i = 0; i < all.size() && !full(); ++i) {
      checked([&] { rows_.push_back(make_row(file, static_cast<std::int64_t>(i) + 1, all[i])); });
    }
  }

  template <class F>
  void checked(F&& work) {
    if (!options_.skip_bad_rows) return work();
    try {
      work();
    } catch (const DataError& e) {
      ++bad_;
      if (skipped_) skipped_->push_back(e.what());
    }
  }

  const DatasetOptions& options_;
  std::vector<std::string>* skipped_;
  std::vector<Row> rows_;
  std::size_t bad_ = 0;
};

}  // namespace

std::vector<Row> read_rows(const DatasetOptions& options, std::vector<std::string>* skipped) {
  Reader reader(options, skipped);
  for (const std::string& file : expand_paths(options.paths)) {
    if (reader.full()) break;
    reader.read(file);
  }
  return reader.take();
}

PromptSource::PromptSource(const std::vector<Prompt>& prompts, Options options)
    : prompts_(prompts), options_(options), cursor_(options.cursor) {
  if (prompts.empty()) throw DataError("there are no prompts to hand out");
}

// The order of an epoch is a function of seed and epoch alone.
void PromptSource::order_epoch(std::uint64_t epoch) {
  if (ordered_epoch_ == epoch) return;
  order_.resize(prompts_.size());
  std::iota(order_.begin(), order_.end(), 0u);
  if (options_.shuffle) {
    StreamRng rng(options_.seed, epoch);
    for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[rng.below(i)]);
  }
  ordered_epoch_ = epoch;
}

const Prompt& PromptSource::next() {
  order_epoch(epoch());
  const Prompt& prompt = prompts_[order_[cursor_ % prompts_.size()]];
  ++cursor_;
  return prompt;
}

std::vector<Prompt> PromptSource::next(std::size_t count) {
  std::vector<Prompt> out;
  out.reserve(count);
  while (out.size() < count) out.push_back(next());
  return out;
}

void PromptSource::seek(std::uint64_t cursor) { cursor_ = cursor; }

}  // namespace r1
