#include "core/metrics.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json_text.h"
#include "core/log.h"
#include "core/tensorboard.h"

namespace r1 {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

void Statistics::add(double value, double weight) {
  min_ = count_ == 0 || value < min_ || std::isnan(value) ? value : min_;
  max_ = count_ == 0 || value > max_ || std::isnan(value) ? value : max_;
  ++count_;
  if (weight == 0) return;
  weight_ += weight;
  const double delta = value - mean_;
  mean_ += delta * weight / weight_;
  square_ += weight * delta * (value - mean_);
}

double Statistics::mean() const { return weight_ > 0 ? mean_ : kNaN; }
double Statistics::min() const { return count_ > 0 ? min_ : kNaN; }
double Statistics::max() const { return count_ > 0 ? max_ : kNaN; }
double Statistics::std() const { return weight_ > 0 ? std::sqrt(square_ / weight_) : kNaN; }

MetricsWriter::MetricsWriter(const Options& options) {
  if (!options.jsonl.empty()) {
    const auto cut = cut_records_after(options.jsonl, options.keep_until_step);
    if (cut > 0) log_info("metrics.cut", {{"text", "records of steps that come again were removed"}, {"records", cut}, {"file", options.jsonl}});
    jsonl_.emplace(options.jsonl, File::Mode::kAppend);
  }
  if (!options.tensorboard.empty()) {
    make_directories(options.tensorboard);
    if (!options.keep_until_step) TensorBoardWriter::remove_old(options.tensorboard);
    const auto first = options.keep_until_step ? std::optional(*options.keep_until_step + 1) : std::nullopt;
    tensorboard_ = std::make_unique<TensorBoardWriter>(options.tensorboard, first);
  }
}

MetricsWriter::~MetricsWriter() = default;

void MetricsWriter::write(std::int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  const double now = seconds_since_1970();
  if (jsonl_) {
    std::string line = "{\"step\":" + std::to_string(step) + ",\"time\":" + json_number(std::round(now * 1e3) / 1e3);
    for (const auto& [name, value] : values) line += ',' + json_quote(name) + ':' + json_number(value);
    jsonl_->write(line + "}\n");
  }
  if (tensorboard_) tensorboard_->scalars(step, now, values);
}

void MetricsWriter::write_text(std::int64_t step, const std::string& name, const std::string& markdown) {
  if (tensorboard_) tensorboard_->text(step, seconds_since_1970(), name, markdown);
}

void MetricsWriter::sync() {
  if (jsonl_) jsonl_->sync();
  if (tensorboard_) tensorboard_->sync();
}

std::int64_t cut_records_after(const std::filesystem::path& path, std::optional<std::int64_t> step) {
  std::error_code none;
  if (!std::filesystem::exists(path, none)) return 0;
  const std::string old = read_file(path);
  std::string kept;
  std::int64_t cut = 0, number = 0;
  for (std::size_t begin = 0; begin < old.size();) {
    const std::size_t end = old.find('\n', begin);
    ++number;
    if (end == std::string::npos) {  // torn by a crash
      ++cut;
      break;
    }
    const std::string_view line(old.data() + begin, end + 1 - begin);
    begin = end + 1;
    if (!step) {
      ++cut;
      continue;
    }
    const auto record = nlohmann::json::parse(line, nullptr, false);
    if (!record.is_object() || !record.contains("step") || !record["step"].is_number_integer()) {
      throw DataError(message(path.string(), ":", number, ": not a record with a whole \"step\"; repair or delete that line, then resume"));
    }
    if (record["step"].get<std::int64_t>() > *step) {
      ++cut;
    } else {
      kept += line;
    }
  }
  if (cut > 0) write_file_atomic(path, kept);
  return cut;
}

}  // namespace r1
