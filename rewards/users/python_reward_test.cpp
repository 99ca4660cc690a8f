#include <mutex>
#include <set>
#include <thread>

#include "rewards/users/user_test_support.h"

namespace r1 {
namespace {

using test::contains;
using test::error_of;
using test::group_of;
using test::interpreter;
using test::TempDir;

// One file with many functions; each test names one.
const char* const kFunctions = R"PY(
import asyncio, os, sys, time
import neighbour

class Number:  # as numpy's and torch's
    def __init__(self, v): self.v = v
    def __float__(self): return float(self.v)
class Array(list):
    def tolist(self): return [float(v) for v in self]

def plain(prompts, completions, completion_ids, answer, level, **kwargs):
    assert set(kwargs) == {'tags', 'log_extra', 'log_metric'}, set(kwargs)
    assert prompts == ['What is 1 + 1?'] * 3 and answer == ['2'] * 3 and level == [3] * 3 and kwargs['tags'] == [['a', 'b']] * 3
    assert [len(ids) for ids in completion_ids] == [3, 3, 3]
    return [1 if a in c else None for c, a in zip(completions, answer)]
def few(completions): return [neighbour.value(c) for c in completions]
async def waits(completions, **kwargs):
    async def one(c):
        await asyncio.sleep(0.01)
        return len(c) / 2
    return await asyncio.gather(*[one(c) for c in completions])
def logs(completions, log_extra, log_metric, **kwargs):
    log_extra('length', [len(c) for c in completions])
    log_extra('odd', [{1, 2}.__class__.__name__, 'two', None][:len(completions)])
    log_metric('depth', 2); log_metric('depth', Number(5))
    return [0.0] * len(completions)
def steps(completions, completion_ids, log_steps):  # each token a step
    log_steps([None if c == '2' else [(i, i / 2) for i in range(len(ids))] for c, ids in zip(completions, completion_ids)])
    return [1.0] * len(completions)
def group(completions, **kwargs):  # relative to the others of the group
    mean = sum(map(len, completions)) / len(completions)
    return [len(c) - mean for c in completions]
def numbers(completions, **kwargs): return [True, Number(0.5), 2][:len(completions)]
def array(completions, **kwargs): return Array([1, 2, 3])
def chat(prompts, completions, **kwargs):
    assert all(c[0]['role'] == 'assistant' for c in completions) and prompts[0][0]['role'] in ('user', 'system')
    return [len(c[0]['content']) for c in completions]
def ours(completions, prompt_id, reference, stop, task, messages):
    return [float(p == 'row-1' and r == '2' and s == 'eos') for p, r, s in zip(prompt_id, reference, stop)]
def scaled(completions, scale, **kwargs): return [scale * len(c) for c in completions]
class Judge:
    def __init__(self, bonus=0): self.bonus, self.calls = bonus, 0
    def __call__(self, completions, **kwargs):
        self.calls += 1
        return [self.bonus + self.calls for c in completions]
judge = Judge(10)
def prints(completions, **kwargs):
    print('hello from the function'); os.system('echo from a shell'); sys.stdin.read()
    return [1.0] * len(completions)
def raises(completions, **kwargs): return [helper(c) for c in completions]
def helper(c): return {}['missing key']
def chained(completions, **kwargs):
    try: helper('')
    except KeyError as e: raise ValueError('outer') from e
def exits(completions, **kwargs): sys.exit(4)
def dies(completions, **kwargs): print('last words', file=sys.stderr, flush=True); os._exit(9)
def sleeps(completions, **kwargs): time.sleep(60)
def leaves_children(completions, **kwargs):
    if os.fork() == 0: time.sleep(30); os._exit(0)
    os._exit(5)
def nan(completions, **kwargs): return [0.0, float('nan')]
def inf(completions, **kwargs): return [0.0, float('-inf')]
def text(completions, **kwargs): return ['0.5', 1.0]
def nested(completions, **kwargs): return [0.0, [1.0]]
def short(completions, **kwargs): return [0.0]
def scalar(completions, **kwargs): return 0.5
def nothing(completions, **kwargs): pass
def mapping(completions, **kwargs): return {'score': 1}
def huge(completions, **kwargs): return [0.0, 1e300]
def bad_extra(completions, log_extra, **kwargs): log_extra('x', [1]); return [0.0, 0.0]
def bad_steps(completions, log_steps): log_steps([[(0, 1)]] if completions else []); return [0.0] * len(completions)
def odd_steps(completions, log_steps): log_steps([[(0, float('nan'))], None] if completions else []); return [0.0] * len(completions)
def bad_metric(completions, log_metric, **kwargs): log_metric('m', float('inf')); return [0.0, 0.0]
def yields(completions, **kwargs): yield 1
def state(completions, trainer_state): return [0.0]
def wants(completions, target, hint='x', **kwargs): return [0.0] * len(completions)
def any(completions, **kwargs): return globals()[completions[0]](completions=completions, **kwargs)
constant = 3
)PY";

std::string functions(const TempDir& dir) {
  test::write_program(dir / "neighbour.py", "def value(text): return len(text) * 10\n");
  return test::write_program(dir / "my_rewards.py", kFunctions);
}
Rubric rubric_of(const std::string& file, const std::string& function, const std::string& options = "") {
  return test::user_rubric("{python: " + file + ":" + function + ", interpreter: " + interpreter() + options + "}");
}

TEST_CASE("a Python function sees what TRL passes") {
  const TempDir dir;
  const std::string file = functions(dir);
  const SampleGroup g = group_of({"it is 2", "four", "2"});
  const auto values = [&](const std::string& function, const std::string& options = "", const SampleGroup* group = nullptr) {
    const Rubric rubric = rubric_of(file, function, options);
    std::vector<std::optional<float>> out;
    for (const Score& s : rubric.score(group ? *group : g)) {
      const auto part = s.parts.find(rubric.entries()[0].label);
      out.push_back(part == s.parts.end() ? std::nullopt : std::optional(part->second));
    }
    return out;
  };
  using V = std::vector<std::optional<float>>;
  CHECK(values("plain") == V{1.f, std::nullopt, 1.f});
  CHECK(values("few") == V{70.f, 40.f, 10.f});  // no **kwargs: it gets what it names; its neighbour is importable
  CHECK(values("waits") == V{3.5f, 2.f, 0.5f});
  CHECK(values("numbers") == V{1.f, 0.5f, 2.f});
  CHECK(values("array") == V{1.f, 2.f, 3.f});
  CHECK(values("ours") == V{1.f, 1.f, 1.f});
  CHECK(values("scaled", ", arguments: {scale: 0.5}") == V{3.5f, 2.f, 0.5f});
  CHECK(values("Judge", ", arguments: {bonus: 3}") == V{4.f, 4.f, 4.f});
  CHECK(values("judge") == V{11.f, 11.f, 11.f});
  CHECK(values("judge.__call__") == V{11.f, 11.f, 11.f});
  CHECK(values("prints") == V{1.f, 1.f, 1.f});  // none of that reaches the replies
  CHECK(values("group") == V{3.f, 0.f, -3.f});
  SampleGroup talk = g;
  talk.prompt.columns["prompt"] = R"([{"role": "user", "content": "What is 1 + 1?"}])";
  CHECK(values("chat", "", &talk) == V{7.f, 4.f, 1.f});
  talk.prompt.columns.erase("prompt");
  talk.prompt.messages = {{"system", "s"}, {"user", "What is 1 + 1?"}};
  CHECK(values("chat", ", conversational: true", &talk) == V{7.f, 4.f, 1.f});

  const auto logged = rubric_of(file, "logs").score(g);
  CHECK(logged[1].columns.at("length") == "4");
  CHECK(logged[1].columns.at("odd") == "two");
  CHECK(logged[0].columns.at("metric/depth") == "3.5");
  const auto stepwise = rubric_of(file, "steps").score(g);
  REQUIRE(stepwise[0].steps.size() == 3);
  CHECK(stepwise[0].steps[2].token == 2);
  CHECK(stepwise[0].steps[2].value == 1.f);
  CHECK(stepwise[2].steps.empty());
}

TEST_CASE("a function that fails at work: its traceback, never a 0") {
  const TempDir dir;
  const std::string file = functions(dir);
  const Rubric rubric = rubric_of(file, "any");
  const auto fails = [&](const std::string& function) { return error_of([&] { rubric.score(group_of({function, "bb"})); }); };
  const std::string raised = fails("raises");
  CHECK(contains(raised, "reward any, prompt row-1: python " + file + ":any: 'any' raised KeyError: 'missing key'"));
  CHECK(contains(raised, "my_rewards.py\", line "));
  CHECK(contains(raised, "in helper"));
  CHECK(raised.find("<string>") == std::string::npos);  // our own frames are left out
  const std::string chained = fails("chained");
  CHECK(contains(chained, "ValueError: outer"));
  CHECK(contains(chained, "direct cause"));
  CHECK(contains(fails("exits"), "'any' called sys.exit SystemExit: 4"));
  const std::string died = fails("dies");
  CHECK(contains(died, "exited with code 9; its last lines on stderr:\n  last words"));
  CHECK(contains(died, "my_rewards.py:any"));
  CHECK(contains(died, "restarted once"));
  CHECK(contains(fails("leaves_children"), "exited with code 5"));  // although its child still holds the pipe
  CHECK(contains(error_of([&] { rubric_of(file, "sleeps", ", timeout: 0.3").score(group_of({"a"})); }), "no answer within 0.3 s"));
  CHECK(contains(fails("nan"), "prompt row-1: python " + file + ":any: sample 1: the reward is nan (float)"));
  CHECK(contains(fails("inf"), "sample 1: the reward is -inf (float)"));
  CHECK(contains(fails("huge"), "sample 1: the reward is 1e+300"));
  CHECK(contains(fails("text"), "sample 0: the reward is '0.5' (str)"));
  CHECK(contains(fails("nested"), "sample 1: the reward is [1.0] (list)"));
  CHECK(contains(fails("short"), "returned 1 rewards for 2 completions"));
  CHECK(contains(fails("scalar"), "returned 0.5 (float); it must return a list"));
  CHECK(contains(fails("nothing"), "returned None (NoneType)"));
  CHECK(contains(fails("mapping"), "returned {'score': 1} (dict)"));
  const auto steps_fail = [&](const std::string& function) { return error_of([&] { rubric_of(file, function).score(group_of({"a", "bb"})); }); };
  CHECK(contains(steps_fail("bad_steps"), "log_steps(...) got 1 lists for 2 completions"));
  CHECK(contains(steps_fail("odd_steps"), "sample 0: a step reward is nan"));
  CHECK(contains(fails("bad_extra"), "log_extra('x', ...) got 1 values for 2 completions"));
  CHECK(contains(fails("bad_metric"), "metric 'm' is inf"));
  const auto abstained = rubric_of(file, "raises", ", on_error: abstain, verdict: true").score(group_of({"a", "bb"}));
  CHECK(abstained[1].parts.empty());
  CHECK(abstained[1].verdict == Verdict::kError);
  CHECK(contains(abstained[1].detail, "KeyError"));
}

TEST_CASE("a function that cannot be loaded is an error of the recipe") {
  const TempDir dir;
  const std::string file = functions(dir);
  const auto fails = [&](const std::string& entry) {
    try {
      test::user_rubric("{python: " + entry + (entry.find("interpreter") == std::string::npos ? ", interpreter: " + interpreter() : "") + "}");
    } catch (const ConfigError& e) {
      return std::string(e.what());
    }
    return std::string("no ConfigError");
  };
  const auto with = [&](const std::string& name, const std::string& text) { return test::write_program(dir / name, text); };
  CHECK(contains(fails((dir / "none.py").string() + ":f"), "recipe.yaml:1: 'rewards.0.python' there is no file"));
  CHECK(contains(fails(file), "write FILE.py:FUNCTION"));
  CHECK(contains(fails(file + ":brevity"), "has no 'brevity'"));
  CHECK(contains(fails(file + ":logz"), "did you mean 'logs'?"));
  CHECK(contains(fails(file + ":constant"), "'constant' is int, not a function"));
  CHECK(contains(fails(file + ":yields"), "it must return a list"));
  CHECK(contains(fails(file + ":state"), "needs trainer_state"));
  CHECK(contains(fails(file + ":few, arguments: {x: 1}"), "no parameter 'x'"));
  CHECK(contains(fails(file + ":few, arguments: 3"), "arguments"));
  CHECK(contains(fails(file + ":few, interpreter: no-such-python"), "'no-such-python' cannot be started"));
  CHECK(contains(fails(file + ":few, interpreter: cat"), "did not start"));
  CHECK(contains(fails("no_such_module_r1:f"), "ModuleNotFoundError"));
  const std::string import = fails(with("imports.py", "import no_such_package\ndef f(**k): pass\n") + ":f");
  CHECK(contains(import, "ModuleNotFoundError: No module named 'no_such_package'"));
  CHECK(contains(import, "imports.py\", line 1"));
  CHECK(contains(fails(with("syntax.py", "def f(:\n") + ":f"), "SyntaxError"));
  CHECK(contains(fails(with("exits.py", "import sys\nsys.exit(2)\n") + ":f"), "called sys.exit"));
  CHECK(contains(fails(with("hard.py", "import os\nos._exit(7)\n") + ":f"), "exited with code 7"));
  CHECK(contains(fails(with("slow.py", "import time\ntime.sleep(60)\n") + ":f, start_timeout: 0.5"), "not ready after 0.5 s"));
}

TEST_CASE("columns that a function needs are checked before a run") {
  const TempDir dir;
  const Rubric rubric = rubric_of(functions(dir), "wants");
  std::vector<Prompt> prompts = {group_of({}).prompt, group_of({}, "row-2").prompt};
  prompts[0].columns["target"] = "1";
  const PromptCheck check = rubric.check_prompts(prompts);
  REQUIRE(check.problems.size() == 1);
  CHECK(contains(check.summary(), "row-2: wants: the function needs the column 'target'; this row has: answer, level, prompt and tags"));
}

TEST_CASE("a file may be called like a module of Python's own") {
  const TempDir dir;
  const std::string file = test::write_program(dir / "json.py", "def f(completions, **k): return [1.0] * len(completions)\n");
  CHECK(rubric_of(file, "f").score(group_of({"a"}))[0].value == 1.f);
}

TEST_CASE("Python workers side by side, order kept") {
  const TempDir dir;
  const std::string file = test::write_program(dir / "r.py", "import os, time\ndef f(completions, log_extra, **k):\n  time.sleep(0.05)\n"
                                                             "  log_extra('pid', [os.getpid()] * len(completions))\n  return [float(c) for c in completions]\n");
  const Rubric rubric = rubric_of(file, "f", ", workers: 3");
  std::set<std::string> pids;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const auto scores = rubric.score(group_of({std::to_string(t), std::to_string(i)}));
        const std::lock_guard lock(mutex);
        CHECK(scores[0].value == static_cast<float>(t));
        CHECK(scores[1].value == static_cast<float>(i));
        pids.insert(scores[0].columns.at("pid"));
      }
    });
  for (std::thread& t : threads) t.join();
  CHECK(pids.size() == 3);
}

}  // namespace
}  // namespace r1
