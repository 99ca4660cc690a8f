// Instructions that a program can check (IFEval, arXiv:2311.07911): one rule an instruction id, made from its arguments.
// The ids, argument names and meanings are those of IFEval; where IFEval uses a Python library (sentence splitting,
// language detection, word tokens) the difference is said below.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace r1::instructions {

// True if the response follows the instruction. Pure; thread-safe.
using Rule = std::function<bool(const std::string& response)>;

// `arguments_json`: an object; null values count as absent. Throws DataError: unknown id, missing or bad argument, a
// language rule that this build cannot decide. Known ids:
//   keywords:existence {keywords}            keywords:frequency {keyword, frequency, relation}
//   keywords:forbidden_words {forbidden_words}   keywords:letter_frequency {letter, let_frequency, let_relation}
//   language:response_language {language}    (CLD2 in place of langdetect)
//   length_constraints:number_sentences {num_sentences, relation}   (ends at . ! ? and their Chinese forms, not after
//       initials, common abbreviations or inside numbers; IFEval: NLTK's punkt)
//   length_constraints:number_words {num_words, relation}           (runs of letters, digits and _)
//   length_constraints:number_paragraphs {num_paragraphs}           (divided by ***)
//   length_constraints:nth_paragraph_first_word {num_paragraphs, nth_paragraph, first_word}   (divided by empty lines)
//   detectable_content:number_placeholders {num_placeholders}       detectable_content:postscript {postscript_marker}
//   detectable_format:number_bullet_lists {num_bullets}             detectable_format:constrained_response
//   detectable_format:number_highlighted_sections {num_highlights}  detectable_format:title
//   detectable_format:multiple_sections {section_spliter, num_sections}   detectable_format:json_format
//   combination:two_responses                combination:repeat_prompt {prompt_to_repeat}
//   startend:end_checker {end_phrase}        startend:quotation
//   change_case:capital_word_frequency {capital_frequency, capital_relation}   (words: runs of letters; IFEval: NLTK)
//   change_case:english_capital              change_case:english_lowercase
//   punctuation:no_comma
// relation is "at least" or "less than".
Rule make_rule(const std::string& id, const std::string& arguments_json);
std::vector<std::string> rule_ids();

// What is counted, for tests and other rules. UTF-8.
int count_words(std::string_view text);
int count_sentences(std::string_view text);
std::string lower(std::string_view text);  // of any script

// The responses that the loose verdict tries: as it is, without its first line, its last line, both; each also without
// asterisks (IFEval's own list). Empty ones are left out.
std::vector<std::string> loose_forms(const std::string& response);

}  // namespace r1::instructions
