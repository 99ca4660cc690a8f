// The work of `r1 generate` behind its flags.
#pragma once

#include <string>

#include "apps/command.h"
#include "recipes/generate_recipe.h"

namespace r1 {

// Draws, filters, selects, rewrites and writes what the recipe says; goes on where an earlier call stopped.
void run_generate(GenerateRecipe recipe, const Globals& globals);

// Draws line `line` of a JSON lines set again and compares. `model` and `template_file` in place of the record's, where they
// lie elsewhere now ("" = as recorded). True if it is equal byte by byte.
struct RegenerateArgs {
  std::string file;
  std::int64_t line = 1;
  std::string model, template_file, device = "auto";
};
bool run_regenerate(const RegenerateArgs& args, const Globals& globals);

}  // namespace r1
