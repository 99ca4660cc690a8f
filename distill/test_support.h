// Small raw files for tests.
#pragma once

#include <string>
#include <vector>

#include "distill/raw_file.h"

namespace r1::test {

inline RawHeader small_header(std::size_t prompts, const std::string& rewards = "[{\"name\":\"math\"}]", std::size_t teachers = 1) {
  RawHeader h;
  h.fingerprint = "fingerprint";
  h.seed = 7;
  h.rewards = rewards;
  h.prompts = prompts;
  for (std::size_t t = 0; t < teachers; ++t) {
    TeacherInfo info;
    info.name = "model" + std::to_string(t);
    info.dtype = "bfloat16";
    info.prompt_template = "chat";
    info.template_digest = std::string(32, 'd');
    h.teachers.push_back(info);
  }
  return h;
}

inline std::vector<RawPrompt> small_prompts(std::size_t n, const std::string& prefill = "<think>\n", std::size_t teachers = 1) {
  std::vector<RawPrompt> out(n);
  for (std::size_t i = 0; i < n; ++i) {
    Prompt& p = out[i].prompt;
    p.id = "p" + std::to_string(i);
    p.task = "math";
    p.reference = std::to_string(i);
    p.messages = {{"user", "question " + std::to_string(i)}};
    p.columns = {{"n", std::to_string(i)}};
    out[i].renders.assign(teachers, {std::string(32, 'e'), prefill});
  }
  return out;
}

inline RawSample sample_of(std::size_t teacher, std::size_t prompt, int sample, const std::string& text, StopReason stop = StopReason::kEos) {
  RawSample s;
  s.teacher = teacher;
  s.prompt = prompt;
  s.sample = sample;
  s.drawn.text = text;
  s.drawn.stop = stop;
  s.drawn.num_tokens = 3;
  s.program = "r1 test";
  return s;
}

}  // namespace r1::test
