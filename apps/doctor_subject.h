// What `r1 doctor` examines of a recipe, by its kind.
#pragma once

#include <cstddef>

#include "apps/command.h"
#include "core/config.h"
#include "doctor/findings.h"

namespace r1 {

struct DoctorOptions {
  std::size_t prompts = 16;  // that the start model is asked; 0 = it is not loaded
  int threads = 0;
};

// Adds what is found; throws for nothing that a recipe can be wrong in.
void examine_recipe(const Config& config, const DoctorOptions& options, doctor::Findings& out);

}  // namespace r1
