// r1._core: the checkers for Python. Thin: types and the interpreter lock; everything else is the library's and r1/*.py.
// All calls give the lock back while they work, keep no state and may come from any thread.
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "core/compute_pool.h"
#include "core/error.h"
#include "rewards/code/code_json.h"
#include "rewards/code/isolation.h"
#include "rewards/completion_text.h"
#include "rewards/factory.h"
#include "rewards/math/check.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace r1 {
namespace {

using Columns = std::map<std::string, std::string>;
// value (None = abstained), verdict, detail, columns
using Scored = std::tuple<std::optional<float>, std::string, std::string, Columns>;

// Calls fn(i) for i in [0, n) on up to `threads` threads; the first exception is rethrown here. Threads end with the
// call: none is left for a fork() of the caller to lose.
template <class F>
void for_each_index(std::size_t n, int threads, F&& fn) {
  const std::size_t wanted = threads > 0 ? static_cast<std::size_t>(threads) : static_cast<std::size_t>(usable_cores());
  std::atomic<std::size_t> next = 0;
  std::exception_ptr failed;
  std::mutex mutex;
  const auto work = [&] {
    try {
      for (std::size_t i; (i = next++) < n;) fn(i);
    } catch (...) {
      next = n;
      const std::lock_guard lock(mutex);
      if (!failed) failed = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    for (std::size_t t = 1; t < std::min(wanted, n); ++t) others.emplace_back(work);
    work();
  }
  if (failed) std::rethrow_exception(failed);
}

StopReason stop_of(const std::string& word) {
  for (const StopReason s : {StopReason::kEos, StopReason::kStop, StopReason::kLength, StopReason::kAborted})
    if (word == to_string(s)) return s;
  throw DataError(message("stop is '", word, "'; one of eos, stop, length, aborted"));
}

class Reward {
 public:
  Reward(const std::string& name, const std::string& options_json, std::int64_t max_new_tokens)
      : reward_(make_reward(name, options_json, RewardContext{.max_new_tokens = max_new_tokens, .external = {}})) {}

  // Entry i of every list is one completion with its own data row.
  std::vector<Scored> score(const std::vector<std::string>& prompts, const std::vector<std::string>& completions,
                            const std::vector<std::string>& references, const std::vector<Columns>& columns,
                            const std::vector<std::string>& stops, const std::vector<std::size_t>& tokens,
                            int threads) const {
    const std::size_t n = completions.size();
    for (const std::size_t size : {prompts.size(), references.size(), columns.size(), stops.size(), tokens.size()})
      if (size != n) throw DataError(message("lists of ", n, " and ", size, " entries; all must be as long as completions"));
    std::vector<Scored> out(n);
    for_each_index(n, threads, [&](std::size_t i) {
      SampleGroup group;
      group.prompt.text = prompts[i];
      group.prompt.messages = {{"user", prompts[i]}};
      group.prompt.reference = references[i];
      group.prompt.columns = columns[i];
      Completion& c = group.completions.emplace_back();
      c.text = completions[i];
      c.stop = stop_of(stops[i]);
      c.tokens.resize(tokens[i]);
      RewardResult r;
      reward_->score(group, {&r, 1});
      out[i] = {r.value, to_string(r.verdict), std::move(r.detail), std::move(r.columns)};
    });
    return out;
  }

  std::string check_prompt(const std::string& prompt, const std::string& reference, const Columns& columns) const {
    Prompt p;
    p.text = prompt;
    p.messages = {{"user", prompt}};
    p.reference = reference;
    p.columns = columns;
    return reward_->check_prompt(p);
  }

 private:
  std::shared_ptr<const RewardFunction> reward_;
};

// verdict, proved, gold as read, answer as read, reason
std::tuple<std::string, bool, std::string, std::string, std::string> check_math(const std::string& gold, const std::string& answer,
                                                                                const std::string& options_json) {
  math::CheckOptions options;
  if (!options_json.empty()) {
    ConfigReader reader(Config::parse(options_json, "options"));
    options = math::read_check_options(reader);
    reader.finish();
  }
  const auto read = math::read_gold(gold);
  if (!read) throw DataError(message("the gold '", gold.substr(0, 60), "' holds no answer to compare with"));
  const math::Verdict v = math::check(*read, math::read_answer(plain_forms(answer)), options);
  const char* const word = v.outcome == math::Outcome::kEqual       ? "equal"
                           : v.outcome == math::Outcome::kDifferent ? "different"
                                                                    : "undecided";
  return {word, v.proved, v.gold_read, v.answer_read, std::string(v.reason)};
}

std::string run_code(const std::string& request_json) {
  code::require_isolation();
  return code::judge_json_line(request_json).text;
}

std::string sandbox_problem() {
  try {
    code::require_isolation();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

void translate(const std::exception_ptr& e, void*) {
  try {
    std::rethrow_exception(e);
  } catch (const ConfigError& error) { PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const DataError& error) { PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const IoError& error) { PyErr_SetString(PyExc_OSError, error.what());
  } catch (const Error& error) { PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

}  // namespace
}  // namespace r1

NB_MODULE(_core, m) {
  using r1::Reward;
  const auto release = nb::call_guard<nb::gil_scoped_release>();
  nb::register_exception_translator(r1::translate);
  m.doc() = "The checkers of the library as they are; r1, r1.trl and r1.verl are what to use. Every call gives the interpreter "
            "lock back while it works and may come from any thread.";
  nb::class_<Reward>(m, "Reward", "One reward of the library by its name, with its options as JSON text.")
      .def(nb::init<const std::string&, const std::string&, std::int64_t>(), "name"_a, "options_json"_a = "{}",
           "max_new_tokens"_a = 0)
      .def("score", &Reward::score, release, "prompts"_a, "completions"_a, "references"_a, "columns"_a, "stops"_a, "tokens"_a,
           "threads"_a = 0,
           "(value or None, verdict, detail, columns) of each completion; all lists have one entry a completion. threads: 0 = all cores.")
      .def("check_prompt", &Reward::check_prompt, release, "prompt"_a, "reference"_a, "columns"_a,
           "Why this prompt can never be scored; empty if it can.");
  m.def("reward_names", [] {
    std::vector<std::string> names;
    for (const r1::RewardKind& kind : r1::reward_kinds()) names.emplace_back(kind.name);
    return names;
  }, "Names that Reward knows.");
  m.def("check_math", &r1::check_math, release, "gold"_a, "answer"_a, "options_json"_a = "",
        "(verdict, proved, gold as read, answer as read, reason) of an answer that stands alone.");
  m.def("run_code", &r1::run_code, release, "request_json"_a, "One request of `r1 verify code` -> its reply.");
  m.def("sandbox_guarantees", [] { return r1::code::host_guarantees().lines(); }, release, "Which walls this host gives, a line each.");
  m.def("sandbox_problem", &r1::sandbox_problem, release, "Why this host cannot isolate programs; empty if it can.");
}
