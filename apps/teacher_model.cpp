#include "apps/teacher_model.h"

#include "apps/runtime.h"
#include "core/error.h"
#include "distill/teacher.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"

namespace r1 {

std::unique_ptr<TeacherModel> open_teacher(const std::string& name, DType dtype, const std::string& student_name, const Tokenizer& student,
                                           ComputePool& pool) {
  const std::filesystem::path path = resolve_model(name);
  const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(path);
  check_same_vocabulary(*tokenizer, name, student, student_name);
  const auto open = [&](const auto& source) {
    if (source.config().scalar_head) throw ConfigError(message("distill.teacher: ", name, " is a reward model; a teacher is a language model"));
    auto teacher = std::make_unique<TeacherModel>(source.config(), dtype, pool);
    source.load_into(teacher->model.weights());
    teacher->model.weights_changed();
    if (tokenizer->vocab_size() < source.config().vocab_size) teacher->model.set_vocab_limit(tokenizer->vocab_size());
    return teacher;
  };
  if (is_gguf(path)) return open(GgufModel(path));
  return open(ModelDirectory(path));
}

}  // namespace r1
