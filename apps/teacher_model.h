// A distillation's teacher in this process: a frozen model on the device of the one that learns.
#pragma once

#include <string>

#include "apps/backend.h"
#include "text/tokenizer.h"

namespace r1 {

// `name`: HF directory, GGUF file or hub name; opened and, at the backend, read. Throws ConfigError if its vocabulary is not the student's.
BackendModel open_teacher(const std::string& name, DType dtype, const std::string& student_name, const Tokenizer& student);

}  // namespace r1
