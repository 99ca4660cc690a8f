#include "apps/teacher_model.h"

#include "apps/hub_files.h"
#include "apps/runtime.h"
#include "core/error.h"
#include "kd/teacher.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"

namespace r1 {

BackendModel open_teacher(const std::string& name, DType dtype, const std::string& student_name, const Tokenizer& student) {
  const std::filesystem::path path = find_model(name);
  const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(path);
  check_same_vocabulary(*tokenizer, name, student, student_name);
  const auto open = [&](const auto& source) {
    if (source->config().scalar_head) throw ConfigError(message("distill.teacher: ", name, " is a reward model; a teacher is a language model"));
    const bool fewer = tokenizer->vocab_size() < source->config().vocab_size;
    return BackendModel{source->config(), dtype, [source](WeightStore& store) { source->load_into(store); }, fewer ? tokenizer->vocab_size() : 0};
  };
  if (is_gguf(path)) return open(std::make_shared<const GgufModel>(path));
  return open(std::make_shared<const ModelDirectory>(path));
}

}  // namespace r1
