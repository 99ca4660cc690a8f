// Encoding speed, one thread, one JSON line:
//   tokenizer_bench TOKENIZER.json [TEXT.jsonl ...] [--seconds S]
// Every text column of every row is one text, as in a data set; without files, generated tasks. MB/s counts the texts'
// bytes over this thread's CPU time, so that other programs on the machine do not enter; `first_pass` starts with empty
// caches. bench/peers/tokenizer_peer.py measures the Python package on the same texts.
#include <ctime>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "text/dataset.h"
#include "text/tasks.h"
#include "text/tokenizer.h"

namespace {

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

std::vector<std::string> read_texts(const std::vector<std::string>& files) {
  std::vector<std::string> texts;
  if (files.empty()) {
    for (const char* task : {"add", "countdown", "letter_count", "sort"}) {
      for (std::int64_t i = 0; i < 2000; ++i) texts.push_back(r1::make_task_line({task, 3, "train", 0}, i));
    }
    return texts;
  }
  r1::DatasetOptions options;
  options.paths = files;
  for (const r1::Row& row : r1::read_rows(options)) {
    for (const auto& [name, value] : row.columns) {
      if (const auto json = nlohmann::json::parse(value); json.is_string()) texts.push_back(json.get<std::string>());
    }
  }
  return texts;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::vector<std::string> files;
    std::string tokenizer_file;
    double seconds = 2;
    for (int i = 1; i < argc; ++i) {
      const std::string arg = argv[i];
      if (arg == "--seconds" && i + 1 < argc) seconds = std::atof(argv[++i]);
      else if (tokenizer_file.empty()) tokenizer_file = arg;
      else files.push_back(arg);
    }
    if (tokenizer_file.empty()) {
      std::fprintf(stderr, "usage: tokenizer_bench TOKENIZER.json [TEXT.jsonl ...] [--seconds S]\n");
      return 2;
    }
    const std::vector<std::string> texts = read_texts(files);
    std::size_t bytes = 0, tokens = 0;
    for (const auto& t : texts) bytes += t.size();
    const double before_load = cpu_seconds();
    const auto tokenizer = r1::Tokenizer::load(tokenizer_file);
    const double load = cpu_seconds() - before_load;
    double first = 0, best = 0, total = 0;
    int passes = 0;
    while (passes < 2 || total < seconds) {
      const double start = cpu_seconds();
      tokens = 0;
      for (const auto& t : texts) tokens += tokenizer->encode(t).size();
      const double took = cpu_seconds() - start;
      total += took;
      if (passes++ == 0) first = took;
      best = passes == 1 ? took : std::min(best, took);
    }
    const double mega = static_cast<double>(bytes) * 1e-6;
    const nlohmann::ordered_json line = {{"case", "tokenizer_encode"},
                                         {"program", "r1"},
                                         {"tokenizer", tokenizer_file},
                                         {"texts", texts.size()},
                                         {"bytes", bytes},
                                         {"tokens", tokens},
                                         {"passes", passes},
                                         {"mb_per_s", mega / best},
                                         {"mb_per_s_first_pass", mega / first},
                                         {"tokens_per_s", static_cast<double>(tokens) / best},
                                         {"load_s", load}};
    std::printf("%s\n", line.dump().c_str());
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "tokenizer_bench: %s\n", e.what());
    return 1;
  }
}
