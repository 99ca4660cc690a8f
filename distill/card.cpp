#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/format.h"
#include "core/json_text.h"
#include "distill/write_set.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

std::string cut(const std::string& text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  std::size_t end = bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + " [...]";
}

// An indented block: whatever the text holds, it stays text.
std::string block(const std::string& text) {
  std::string out = "    ";
  for (const char c : text) {
    out += c;
    if (c == '\n') out += "    ";
  }
  return out + "\n";
}

const char* size_category(std::int64_t n) {
  return n < 1000 ? "n<1K" : n < 10'000 ? "1K<n<10K" : n < 100'000 ? "10K<n<100K" : n < 1'000'000 ? "100K<n<1M" : "1M<n<10M";
}

std::string list_of(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& item : items) out += (out.empty() ? "" : ", ") + item;
  return out;
}

std::string what_filters(const FilterOptions& f) {
  std::string out;
  const auto add = [&](const auto&... parts) { out += "- " + message(parts...) + "\n"; };
  if (f.finished) add("finished: the model ended by itself");
  if (f.format) add("format: one think block, then the answer", f.format->answer_tag ? " in answer tags" : "");
  if (f.correct) add("correct: the verdict is ok");
  if (f.language) add("language: at least ", *f.language, " of the chain's words in the wanted language (", f.language_code, ")");
  if (f.repetition)
    add("repetition: no ", f.repetition->ngram, "-gram of words more than ", f.repetition->max_count, " times, at most ", f.repetition->max_share,
        " of them repeated");
  if (f.max_paragraph > 0) add("paragraphs: at most ", f.max_paragraph, " characters between blank lines");
  if (f.no_code) add("code: no code block in the chain, but for tasks ", list_of(f.code_tasks));
  if (f.length) {
    add("length: tokens ", f.length->min_tokens, " to ", f.length->max_tokens ? std::to_string(f.length->max_tokens) : "any", ", characters ",
        f.length->min_characters, " to ", f.length->max_characters ? std::to_string(f.length->max_characters) : "any");
  }
  return out;
}

std::string what_else(const CurateOptions& o) {
  std::string out;
  const auto add = [&](const auto&... parts) { out += "- " + message(parts...) + "\n"; };
  if (!o.against.empty())
    add("decontamination: nothing that shares ", o.decontaminate.ngram, " words in a row (", o.decontaminate.characters,
        " characters where there are no spaces) with a question or solution of: ", list_of(o.against));
  if (o.min_pass_rate || o.max_pass_rate) add("difficulty: pass rate from ", o.min_pass_rate.value_or(0), " to ", o.max_pass_rate.value_or(1));
  if (o.exact) add("exact duplicates: one of each", o.within_prompt ? " a prompt" : "");
  if (o.near)
    add("near duplicates: MinHash, ", o.near->hashes, " hashes of ", o.near->shingle, "-word shingles, similarity from ", o.near->threshold,
        o.within_prompt ? ", within a prompt" : "");
  constexpr const char* kPrefer[] = {"in the order drawn", "the shortest right ones first", "the least alike first", "the best first by "};
  if (o.per_prompt > 0)
    add("selection: at most ", o.per_prompt, " a prompt, ", kPrefer[static_cast<int>(o.prefer)],
        o.prefer == CurateOptions::Prefer::kBest ? o.best : "");
  return out;
}

// What LLaMA-Factory's data/dataset_info.json needs: its own names of roles are others.
std::string llama_factory_entry(const SetPaths& paths) {
  const Json entry = {{paths.data.stem().string(),
                       {{"file_name", paths.data.filename().string()},
                        {"formatting", "sharegpt"},
                        {"columns", {{"messages", "messages"}}},
                        {"tags",
                         {{"role_tag", "role"},
                          {"content_tag", "content"},
                          {"user_tag", "user"},
                          {"assistant_tag", "assistant"},
                          {"system_tag", "system"}}}}}};
  return block(entry.dump(2));
}

}  // namespace

std::vector<std::pair<std::string, std::int64_t>> step_counts(const CurateOptions& o, const CurateStats& s, const SetStats& set) {
  std::vector<std::pair<std::string, std::int64_t>> out = {{"samples drawn", s.samples}};
  for (const auto& [name, n] : s.filters) out.emplace_back("- " + name, n);
  if (!o.against.empty()) out.emplace_back("- decontamination", s.contaminated);
  if (o.min_pass_rate || o.max_pass_rate) out.emplace_back("- difficulty", s.difficulty);
  if (o.exact) out.emplace_back("- exact duplicates", s.exact);
  if (o.near) out.emplace_back("- near duplicates", s.near);
  if (o.per_prompt > 0) out.emplace_back("- not selected", s.not_selected);
  std::int64_t lost = 0;
  for (const auto& [why, n] : set.not_rewritten) lost += n;
  if (lost > 0) out.emplace_back("- not rewritten", lost);
  out.emplace_back("records", set.records);
  return out;
}

std::string card_head(const SetPaths& paths, const SetOptions& o, std::int64_t records) {
  std::string out = "---\n";
  if (!o.license.empty()) out += "license: " + json_quote(o.license) + "\n";
  out += message("size_categories:\n- ", size_category(records),
                 "\ntags:\n- synthetic\n- reasoning\nconfigs:\n- config_name: default\n  data_files: ", json_quote(paths.data.filename().string()),
                 "\n---\n");
  out += "# " + (o.title.empty() ? paths.data.stem().string() : o.title) + "\n\n";
  return out;
}

std::string set_card(const RawFile& file, const CurateOptions& curated, const CurateStats& s, const RewriterInfo* rewriter, const SetPaths& paths,
                     const SetOptions& o, const SetStats& set) {
  const RawHeader& h = file.header();
  std::string out = card_head(paths, o, set.records);
  const auto add = [&](const auto&... parts) { out += message(parts..., "\n"); };
  add(with_commas(set.records), " records of ", with_commas(s.prompts_kept), " prompts",
      set.unknown_tokens == 0 ? ", " + with_commas(set.tokens) + " tokens" : "", ", made by sampling, checking and filtering (`r1 generate`).");
  add("Each row's `messages` is a conversation as TRL, LLaMA-Factory and r1's SFT read it; `provenance` says how to draw it again (`r1 generate "
      "--regenerate`).\n");
  add("LLaMA-Factory finds it by an entry in its `data/dataset_info.json`:\n\n", llama_factory_entry(paths));
  add("## Models\n\n| model | weights | template | temperature | top-p | top-k | min-p | tokens at most | samples a prompt "
      "|\n|---|---|---|---|---|---|---|---|---|");
  for (std::size_t t = 0; t < h.teachers.size(); ++t) {
    const TeacherInfo& i = h.teachers[t];
    const std::string digest = file.digest(t);
    add("| ", i.name, " | ", digest.empty() ? "not known" : digest, i.dtype.empty() ? "" : " " + i.dtype, " | ", i.prompt_template, " | ",
        i.sampling.temperature, " | ", i.sampling.top_p, " | ", i.sampling.top_k, " | ", i.sampling.min_p, " | ", i.sampling.max_new_tokens, " | ",
        samples_of(file, curated, t), " |");
  }
  add("\nSeed ", h.seed, "; rewards: ", h.rewards.empty() ? "none" : "`" + h.rewards + "`", ".");
  if (rewriter)
    add("Chains were rewritten by ", rewriter->name, " (temperature ", rewriter->temperature, "); the original stands in `provenance.source`.");
  if (s.judged > 0)
    add(with_commas(s.correct), " of ", with_commas(s.judged), " judged samples were right (",
        static_cast<int>(1000.0 * static_cast<double>(s.correct) / static_cast<double>(s.judged) + 0.5) / 10.0, " %).");
  add("\n## What was kept\n\n| step | samples |\n|---|---|");
  for (const auto& [name, n] : step_counts(curated, s, set)) add("| ", name, " | ", with_commas(n), " |");
  if (const std::string how = what_filters(curated.filters) + what_else(curated); !how.empty()) add("\nThe steps, in this order:\n\n", how);
  if (!s.whys.empty() || !set.not_rewritten.empty()) {
    add("Why, where a word says it:\n");
    for (const auto& [why, n] : s.whys) add("- ", why, ": ", with_commas(n));
    for (const auto& [why, n] : set.not_rewritten) add("- not rewritten, ", why, ": ", with_commas(n));
  }
  for (const auto& [source, n] : s.contaminated_by) add("- shared with ", source, ": ", with_commas(n), " samples");
  add("\n## Licences\n");
  add(o.license.empty() && o.license_notes.empty() ? "None was stated by whoever made this set." : "As stated by whoever made this set:");
  if (!o.license.empty()) add("- this set: ", o.license);
  for (const std::string& note : o.license_notes) add("- ", note);
  add("\n## Examples\n");
  for (const std::string& line : set.examples) {
    const Json row = Json::parse(line);
    for (const Json& m : row.at("messages"))
      out += message(m.at("role").get<std::string>(), ":\n\n", block(cut(m.at("content").get<std::string>(), 1200)), "\n");
  }
  return out;
}

}  // namespace r1
