#include "core/config_recorder.h"

#include <algorithm>
#include <cctype>

namespace r1 {
namespace {

thread_local ConfigRecorder* recording = nullptr;

}  // namespace

ConfigRecorder::ConfigRecorder() { recording = this; }
ConfigRecorder::~ConfigRecorder() { recording = nullptr; }
ConfigRecorder* ConfigRecorder::current() { return recording; }

ConfigQuestion& ConfigRecorder::at(std::string_view path) {
  std::string name;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    const bool is_item = !part.empty() && std::all_of(part.begin(), part.end(), [](unsigned char c) { return std::isdigit(c); });
    if (is_item) name += "[]";
    else name += (name.empty() ? "" : ".") + std::string(part);
    begin = end + 1;
  }
  return questions_[name];
}

}  // namespace r1
