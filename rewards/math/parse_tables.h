// What the parser knows about names: functions, symbols, relations.
#pragma once

#include <optional>
#include <string_view>

#include "rewards/math/token.h"
#include "rewards/math/tree.h"

namespace r1::math {

std::optional<Function> function_named(std::string_view command);
std::string_view function_name(Function f);
std::optional<Function> inverse_function(Function f);  // \sin^{-1}
bool takes_arguments(Function f, std::size_t count);

bool is_symbol_command(std::string_view command);  // Greek letters, number sets, \angle
bool is_accent(std::string_view command);          // \vec, \overline: makes a name of its argument
bool is_atom_command(std::string_view command);    // may start a factor
char relation_letter(const Token& token);          // see tree.h; 0 = no relation

}  // namespace r1::math
