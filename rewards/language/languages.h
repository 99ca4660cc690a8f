// The languages that the `language` reward knows: the scripts each is written in, and whether the script alone names it.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace r1 {

// A script of ICU (UScriptCode) kept as a number, so that this header needs no ICU.
using Script = int;

struct Language {
  std::string_view code;        // ISO 639-1
  std::string_view name;        // English
  std::span<const Script> scripts;
  bool shared = false;          // other languages use the script too: it takes a detector to tell
  std::string_view siblings;    // codes that a detector mixes up with this one on short text, comma-separated
};

std::span<const Language> languages();
// By code or English name; letter case and what follows '-' or '_' (region, script) do not matter. Null if unknown.
const Language* find_language(std::string_view name);
std::string language_codes();  // "zh, en, ...", for error messages

bool written_in(const Language& language, Script script);
// The language that a script names by itself ("ko" for Hangul), or a script's short name ("Latn"), for tables of what
// else was found.
std::string script_label(Script script);

}  // namespace r1
