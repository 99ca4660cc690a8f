#include "apps/generate_run.h"

#include <chrono>
#include <cstdio>

#include "apps/reward_context.h"
#include "apps/runtime.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/json_text.h"
#include "core/progress.h"
#include "core/signals.h"
#include "core/terminal.h"
#include "distill/draw.h"
#include "distill/engines.h"
#include "distill/regenerate.h"
#include "recipes/data_section.h"
#include "text/json_pieces.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

// A model of this process, alive as long as its teacher draws.
struct Local {
  Runtime run;
  BackendParts parts;
};

std::string template_text(const DataSection& data, const Tokenizer& tokenizer) {
  if (data.format == "chat") return tokenizer.chat_template();
  if (data.format == "r1_zero") return kR1ZeroTemplate;
  return data.format == "file" ? read_file(data.template_file) : "{question}";
}

// Prompts that nobody scores need no readable gold.
std::vector<Prompt> load_prompts_for(const GenerateRecipe& recipe, std::shared_ptr<const Tokenizer> tokenizer, Terminal& terminal, bool say) {
  std::vector<Rubric::Entry> none(1);
  none[0].reward = make_reward("length", "{max: 1}");
  const Rubric unscored(std::move(none));
  RecipePrompts loaded = load_recipe_prompts(recipe.data, "data", std::move(tokenizer), recipe.rubric ? *recipe.rubric : unscored);
  if (say && !loaded.skipped.empty())
    terminal.print(message("warning: data: ", loaded.skipped.size(), " bad rows left out, the first: ", loaded.skipped.front()), true);
  return std::move(loaded.prompts);
}

void check_context(const SampleTeacher& teacher, std::int64_t context) {
  for (const Prompt& p : teacher.prompts) {
    const auto need = static_cast<std::int64_t>(p.tokens.size()) + teacher.sampling.max_new_tokens;
    if (need > context)
      throw ConfigError(message("prompt ", p.id, " has ", p.tokens.size(), " tokens; with max_new_tokens ", teacher.sampling.max_new_tokens,
                                " it needs a context of ", need, ", ", teacher.name, " has ", context,
                                "; lower max_new_tokens or set data.max_prompt_tokens"));
  }
}

SampleTeacher local_teacher(const GenerateRecipe& recipe, const EngineSection& e, const Globals& globals, std::vector<std::unique_ptr<Local>>& models,
                      Terminal& terminal, bool first) {
  auto local = std::make_unique<Local>();
  local->run = open_model(e.model, e.dtype, globals.threads > 0 ? globals.threads : recipe.threads, e.device);
  const std::shared_ptr<const Tokenizer>& tokenizer = local->run.tokenizer;
  SampleTeacher t;
  t.name = e.model;
  t.dtype = e.dtype == DType::kF32 ? "float32" : "bfloat16";
  t.prompt_template = recipe.data.format;
  t.template_digest = to_hex(digest_of(template_text(recipe.data, *tokenizer)));
  t.template_variables = recipe.data.template_variables;
  t.sampling = e.sampling;
  t.samples = e.samples;
  t.prompts = load_prompts_for(recipe, tokenizer, terminal, first);
  check_context(t, local->run.backend->config().max_position_embeddings);
  local->parts = local->run.backend->make(device_default(), tokenizer);
  terminal.print(message("  model     ", local->run.path.string(), " on ", local->run.backend->line()));
  models.push_back(std::move(local));
  return t;
}

std::vector<SampleTeacher> make_teachers(const GenerateRecipe& recipe, const Globals& globals, std::vector<std::unique_ptr<Local>>& models,
                                   Terminal& terminal) {
  std::vector<SampleTeacher> teachers;
  std::vector<std::pair<std::size_t, const EngineSection*>> servers;  // of which teacher
  std::vector<std::pair<std::size_t, std::size_t>> locals;            // teacher, model
  for (const EngineSection& e : recipe.engines) {
    if (e.url.empty()) {
      teachers.push_back(local_teacher(recipe, e, globals, models, terminal, teachers.empty()));
      locals.emplace_back(teachers.size() - 1, models.size() - 1);
      continue;
    }
    std::size_t t = 0;
    while (t < teachers.size() && teachers[t].name != e.model) ++t;
    if (t == teachers.size()) {
      SampleTeacher server;
      server.name = e.model;
      server.local = false;
      server.sampling = e.sampling;
      server.samples = e.samples;
      server.prompts = load_prompts_for(recipe, nullptr, terminal, teachers.empty());
      teachers.push_back(std::move(server));
    }
    servers.emplace_back(t, &e);
    terminal.print(message("  model     ", e.model, " at ", e.url));
  }
  // Engines look at their teacher's prompts, which stay where they are from here on.
  for (const auto& [t, m] : locals)
    teachers[t].engines.push_back(make_rollout_source(teachers[t].name, *models[m]->parts.engine, teachers[t].prompts, teachers[t].sampling,
                                                      recipe.seed, models[m]->run.tokenizer));
  for (const auto& [t, e] : servers)
    teachers[t].engines.push_back(make_chat_source(e->url, e->client, teachers[t].prompts, teachers[t].sampling, recipe.seed, e->parallel));
  return teachers;
}

void make_folders(const SetPaths& paths) {
  for (const fs::path& p : {paths.data, paths.card, paths.raw})
    if (p.has_parent_path()) make_directories(p.parent_path());
}

std::unique_ptr<RawFile> draw(GenerateRecipe& recipe, const Globals& globals, Terminal& terminal) {
  std::vector<std::unique_ptr<Local>> models;
  std::vector<SampleTeacher> teachers = make_teachers(recipe, globals, models, terminal);
  const fs::path& path = recipe.paths.raw;
  make_folders(recipe.paths);
  auto file = RawFile::open(path, raw_header(teachers, recipe.seed, recipe.rewards_json), raw_prompts(teachers));
  for (const SampleTeacher& t : teachers) recipe.curate.samples.push_back(t.samples);
  const std::size_t before = file->num_samples();
  terminal.print(message("  data      ", with_commas(static_cast<std::int64_t>(file->header().prompts)), " prompts",
                         before > 0 ? message("; ", with_commas(static_cast<std::int64_t>(before)), " samples are there") : ""));
  Progress progress(terminal, {});
  DrawOptions options;
  options.reward_threads = recipe.reward_threads;
  options.progress = [&](std::int64_t done, std::int64_t total) { progress.work("samples", done, total, ""); };
  options.warn = [&](const std::string& text) { terminal.print("warning: " + text, true); };
  const auto start = std::chrono::steady_clock::now();
  try {
    draw_samples(teachers, *file, recipe.rubric.get(), options);
  } catch (const Interrupted&) {
    throw Interrupted(message("stopped with ", with_commas(static_cast<std::int64_t>(file->num_samples())), " samples in ", path.string(),
                              "; the same command goes on from there"));
  }
  const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto drawn = static_cast<std::int64_t>(file->num_samples() - before);
  if (drawn > 0) terminal.print(message("  drawn     ", with_commas(drawn), " samples in ", human_duration(s)));
  return file;
}

}  // namespace

void run_generate(GenerateRecipe recipe, const Globals& globals) {
  Terminal::Options screen;
  screen.quiet = globals.quiet;
  Terminal terminal(screen);
  if (recipe.mix) {
    if (recipe.paths.data.has_parent_path()) make_directories(recipe.paths.data.parent_path());
    const MixStats stats = mix_sets(*recipe.mix, recipe.paths);
    write_file_atomic(recipe.paths.card, mix_card(*recipe.mix, stats, recipe.paths, recipe.set));
    for (std::size_t s = 0; s < stats.sources.size(); ++s)
      terminal.print(
          message("  ", recipe.mix->sources[s].path, ": ", with_commas(stats.sources[s].taken), " of ", with_commas(stats.sources[s].rows), " rows"));
    terminal.print(message(with_commas(stats.records), " records in ", recipe.paths.data.string()), true);
    return;
  }
  std::unique_ptr<RawFile> file;
  if (recipe.from.empty()) {
    file = draw(recipe, globals, terminal);
  } else {
    file = RawFile::open(recipe.from);
    make_folders(recipe.paths);
    recipe.rubric = rubric_from_json(file->header().rewards, reward_context());
    if (recipe.rubric)
      for (const Rubric::Entry& e : recipe.rubric->entries()) recipe.set.labels.push_back(e.label);
  }
  CurateStats stats;
  const std::vector<Kept> kept = curate(*file, recipe.curate, stats);
  const RewriterInfo* rewriter = nullptr;
  if (recipe.rewrite) {
    rewriter = &recipe.rewrite->info;
    Progress progress(terminal, {});
    RewriteOptions options = *recipe.rewrite;
    options.progress = [&](std::int64_t done, std::int64_t total) { progress.work("rewriting", done, total, ""); };
    rewrite_samples(*file, kept, options, recipe.rewriter, FilterChain(recipe.curate.filters), recipe.rubric.get());
  }
  const SetStats set = write_set(*file, kept, recipe.curate, rewriter, recipe.paths, recipe.set);
  write_file_atomic(recipe.paths.card, set_card(*file, recipe.curate, stats, rewriter, recipe.paths, recipe.set, set));
  Table table({"step", "samples"});
  for (const auto& [name, n] : step_counts(recipe.curate, stats, set)) table.add_row({name, with_commas(n)});
  terminal.print(table.str());
  if (!stats.contamination_example.empty()) terminal.print("  shared with an evaluation set, e.g. " + stats.contamination_example);
  if (set.records == 0) terminal.print("warning: nothing is left; loosen the filters (the table says which took most)", true);
  terminal.print(message(with_commas(set.records), " records in ", recipe.paths.data.string(), ", card ", recipe.paths.card.string()), true);
}

bool run_regenerate(const RegenerateArgs& args, const Globals& globals) {
  JsonPieces pieces(args.file);
  JsonPieces::Piece piece;
  std::int64_t number = 0;
  while (number < args.line && pieces.next(piece)) ++number;
  if (number < args.line) throw DataError(message(args.file, " has ", number, " records, --record is ", args.line));
  std::string record(piece.text);
  if (record.ends_with('\r')) record.pop_back();
  const RecordOrigin origin = with_context(message(args.file, ":", piece.number), [&] { return origin_of(record); });
  const TeacherInfo& info = origin.header.teachers.at(0);
  Runtime run = open_model(args.model.empty() ? info.name : args.model, parse_dtype(info.dtype), globals.threads, args.device);
  DatasetOptions data;
  data.prompt_template = info.prompt_template;
  data.template_file = args.template_file;
  data.template_variables = info.template_variables;
  if (info.prompt_template == "file" && args.template_file.empty())
    throw ConfigError("the record was made with a template of its own; give --template-file");
  const Prompt rendered = [&] {
    Prompt p = PromptMaker(data, run.tokenizer).make_prompt(origin.prompt.prompt.messages);
    p.id = origin.prompt.prompt.id;
    p.task = origin.prompt.prompt.task;
    p.reference = origin.prompt.prompt.reference;
    p.columns = origin.prompt.prompt.columns;
    return p;
  }();
  RewardContext context = reward_context();
  context.max_new_tokens = info.sampling.max_new_tokens;
  const auto rubric = rubric_from_json(origin.header.rewards, context);
  ChatClient rewriter;
  if (origin.rewriter) {
    const Config config = Config::parse("model: " + json_quote(origin.rewriter->name), "rewriter");
    ConfigReader reader(config);
    rewriter = context.chat_client(reader);
  }
  const BackendParts parts = run.backend->make(device_default(), run.tokenizer);
  const std::string again = redraw(origin, rendered, *parts.engine, run.tokenizer, rubric.get(), rewriter);
  const std::string difference = first_difference(record, again);
  if (difference.empty())
    std::printf("%s:%lld: drawn again, equal byte by byte (%zu bytes)\n", args.file.c_str(), static_cast<long long>(piece.number), record.size());
  else std::printf("%s:%lld: drawn again, it differs: %s\n", args.file.c_str(), static_cast<long long>(piece.number), difference.c_str());
  return difference.empty();
}

}  // namespace r1
