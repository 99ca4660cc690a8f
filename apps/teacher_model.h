// A distillation's teacher in this process: a frozen model on the CPU.
#pragma once

#include <memory>
#include <string>

#include "rl/transformer_policy.h"
#include "text/tokenizer.h"

namespace r1 {

struct TeacherModel {
  TeacherModel(ModelConfig config, DType dtype, ComputePool& pool) : model(std::move(config), dtype, pool), scoring(model) {}
  Transformer model;
  TransformerReference scoring;
};

// `name`: HF directory, GGUF file or hub name. The pool outlives it. Throws ConfigError if its vocabulary is not the student's.
std::unique_ptr<TeacherModel> open_teacher(const std::string& name, DType dtype, const std::string& student_name, const Tokenizer& student,
                                           ComputePool& pool);

}  // namespace r1
