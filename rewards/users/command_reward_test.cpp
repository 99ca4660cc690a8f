#include <chrono>
#include <csignal>
#include <set>
#include <sstream>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include "core/files.h"
#include "rewards/users/user_reply.h"
#include "rewards/users/user_test_support.h"

namespace r1 {
namespace {

using test::contains;
using test::error_of;
using test::group_of;
using test::TempDir;

// A command in Python: `body` sees `request` and the list `texts`, and sets `reply`.
std::string command(const TempDir& dir, const std::string& body, const std::string& before = "") {
  return test::write_program(dir / "score", "#!" + test::interpreter() + "\nimport json, os, signal, sys, time\n" + before +
                                                "\nfor line in sys.stdin:\n"
                                                "  request = json.loads(line)\n"
                                                "  texts = [c['text'] for c in request['completions']]\n"
                                                "  reply = {'id': request['id'], 'rewards': [float(len(t)) for t in texts]}\n"
                                                "  hello = not texts\n" + body +
                                                "\n  print(json.dumps(reply), flush=True)\n");
}
std::string entry(const std::string& path, const std::string& options = "") { return "{command: " + path + options + "}"; }

TEST_CASE("a command scores whole groups") {
  const TempDir dir;
  const Rubric rubric = test::user_rubric(entry(command(dir, R"(
  reply['columns'] = {'seen': [[t, request['columns']['level'], request['reference']] for t in texts], 'word': texts}
  reply['verdicts'] = ['ok' if len(t) > 2 else None for t in texts]
  reply['details'] = ['long' if len(t) > 2 else None for t in texts]
  reply['metrics'] = {'longest': max(map(len, texts), default=0)}
  reply['steps'] = [[[0, 0.5], [2, len(t)]] if t == 'bb' else None for t in texts] if not hello else []
  if not hello: reply['rewards'][1] = None
)"), ", verdict: true"));
  const auto scores = rubric.score(group_of({"a", "bb", "cc\n\"c\xff"}));
  REQUIRE(scores.size() == 3);
  CHECK(scores[0].value == 1.f);
  CHECK(scores[0].parts.at("command") == 1.f);
  CHECK_FALSE(scores[1].parts.contains("command"));  // null abstains
  CHECK(scores[2].parts.at("command") == 6.f);       // the bad byte is one character there
  CHECK(scores[2].verdict == Verdict::kCorrect);
  CHECK(scores[2].detail == "long");
  CHECK(scores[0].verdict == Verdict::kAbstain);
  CHECK(scores[0].columns.at("seen") == R"(["a",3,"2"])");
  CHECK(scores[1].columns.at("word") == "bb");
  CHECK(scores[1].steps.empty());  // it abstained: its steps do not count
  CHECK(scores[0].columns.at("metric/longest") == "6");
  CHECK_FALSE(scores[1].columns.contains("metric/longest"));
}

TEST_CASE("a command's step rewards travel with the score, times the entry's weight") {
  const TempDir dir;
  const Rubric rubric = test::user_rubric(entry(command(dir, "  reply['steps'] = [[[0, 0.5], [2, len(t)]] if t == 'bb' else None for t in texts]"),
                                                ", weight: 2"));
  const auto scores = rubric.score(group_of({"a", "bb"}));
  CHECK(scores[0].steps.empty());
  REQUIRE(scores[1].steps.size() == 2);
  CHECK(scores[1].steps[0].token == 0);
  CHECK(scores[1].steps[0].value == 1.f);
  CHECK(scores[1].steps[1].token == 2);
  CHECK(scores[1].steps[1].value == 4.f);
}

TEST_CASE("what a command must not answer") {
  const TempDir dir;
  const auto fails = [&](const std::string& body) {
    const Rubric rubric = test::user_rubric(entry(command(dir, "  if not hello:\n    " + body)));
    return error_of([&] { rubric.score(group_of({"a", "bb"})); });
  };
  const std::string nan = fails("reply['rewards'][1] = float('nan')");
  CHECK(contains(nan, "prompt row-1"));
  CHECK(contains(nan, "sample 1: the reward is \"NaN\""));
  CHECK(contains(fails("reply['rewards'][0] = float('-inf')"), "sample 0: the reward is \"-Infinity\""));
  CHECK(contains(fails("reply['rewards'][1] = 1e39"), "sample 1: the reward is 1e+39"));
  CHECK(contains(fails("reply['rewards'][1] = '1'"), "sample 1: the reward is \"1\""));
  CHECK(contains(fails("reply['rewards'][1] = True"), "sample 1: the reward is true"));
  CHECK(contains(fails("reply['rewards'].pop()"), "rewards has 1 entries for 2 completions"));
  CHECK(contains(fails("reply['rewards'] = 0.5"), "rewards is 0.5; it must be a list"));
  CHECK(contains(fails("del reply['rewards']"), "neither 'rewards' nor 'error'"));
  CHECK(contains(fails("reply['reward'] = []"), "unknown key 'reward'"));
  CHECK(contains(fails("reply['id'] += 1"), "the id 2 where 1 was asked for"));
  CHECK(contains(fails("del reply['id']"), "the id (none)"));
  CHECK(contains(fails("reply = [1]"), "must be a JSON object"));
  CHECK(contains(fails("print('debug')"), "no JSON: 'debug'"));
  CHECK(contains(fails("reply['verdicts'] = ['good', 'ok']"), "sample 0: 'good' is no verdict"));
  CHECK(contains(fails("reply['steps'] = [[[0, 1]]]"), "steps"));
  CHECK(contains(fails("reply['steps'] = [[[0.5, 1]], None]"), "sample 0: steps hold [0.5,1]"));
  CHECK(contains(fails("reply['columns'] = {'x': [1]}"), "column 'x' has 1 entries for 2"));
  CHECK(contains(fails("reply['columns'] = {'x': []}"), "column 'x' has 0 entries for 2"));
  CHECK(contains(fails("reply['metrics'] = {'x': 'y'}"), "metric 'x' is \"y\""));
  CHECK(contains(fails("reply = {'id': request['id'], 'error': 'no such case', 'traceback': 'line 7'}"), "no such case\nline 7"));
}

TEST_CASE("lines nobody asked for are found out") {
  const TempDir dir;
  const Rubric rubric = test::user_rubric(entry(command(dir, "  if not hello: print(json.dumps(reply))")));
  rubric.score(group_of({"a"}));  // the first of the two lines is its answer
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(contains(error_of([&] { rubric.score(group_of({"a"})); }), "without being asked"));
}

TEST_CASE("a late command is stopped with one error; on_error: abstain gives a verdict") {
  const TempDir dir;
  const std::string path = command(dir, "  if not hello and texts[0] == 'slow': print('thinking', file=sys.stderr, flush=True); time.sleep(60)");
  const auto start = std::chrono::steady_clock::now();
  {
    const Rubric rubric = test::user_rubric(entry(path, ", timeout: 0.5"));
    const std::string text = error_of([&] { rubric.score(group_of({"slow", "b"})); });
    CHECK(contains(text, "reward command, prompt row-1: command " + path + " gave no answer within 0.5 s"));
    CHECK(contains(text, "thinking"));
    CHECK(rubric.score(group_of({"ab"}))[0].value == 2.f);  // a new worker
  }
  const Rubric rubric = test::user_rubric(entry(path, ", timeout: 0.5, on_error: abstain, verdict: true"));
  const auto scores = rubric.score(group_of({"slow", "b"}));
  for (const Score& s : scores) {
    CHECK(s.parts.empty());
    CHECK(s.verdict == Verdict::kTimeout);
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
}

TEST_CASE("a command that dies is restarted once for a batch, then the error says how it ended") {
  const TempDir dir;
  const std::string mark = (dir / "mark").string();
  const std::string path = command(dir, R"(
  if texts and texts[0] == 'once' and not os.path.exists(')" + mark + R"('):
    open(')" + mark + R"(', 'w').close()
    os._exit(3)
  if texts and texts[0] == 'kill': print('going down', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)
  if texts and texts[0] == 'raise': raise RuntimeError('broken scorer')
)");
  const Rubric rubric = test::user_rubric(entry(path));
  CHECK(rubric.score(group_of({"once"}))[0].value == 4.f);
  CHECK(std::filesystem::exists(mark));
  const std::string killed = error_of([&] { rubric.score(group_of({"kill"})); });
  CHECK(contains(killed, "killed by signal 9"));
  CHECK(contains(killed, "going down"));
  CHECK(contains(killed, "restarted once"));
  const std::string raised = error_of([&] { rubric.score(group_of({"raise"})); });
  CHECK(contains(raised, "exited with code 1"));
  CHECK(contains(raised, "RuntimeError: broken scorer"));
  CHECK(rubric.score(group_of({"again"}))[0].value == 5.f);
}

TEST_CASE("before the run: missing, not executable, dies, does not answer, does not speak JSON, wrong options") {
  const TempDir dir;
  const auto fails = [&](const std::string& text) { return error_of([&] { test::user_rubric(text); }); };
  CHECK(contains(fails("{command: " + (dir / "none").string() + "}"), "recipe.yaml:1: 'rewards.0.command' there is no program"));
  CHECK(contains(fails("{command: [r1-no-such-program, x]}"), "there is no program 'r1-no-such-program'"));
  std::ofstream(dir / "plain") << "x";
  CHECK(contains(fails("{command: " + (dir / "plain").string() + "}"), "not executable"));
  CHECK(contains(fails("{command: ''}"), "is empty"));
  CHECK(contains(fails("{command: r1-no-such-program --x && true}"), "exited with code 127"));
  CHECK(contains(fails("{command: 'echo oops >&2; exit 4'}"), "did not start: it exited with code 4; its last lines on stderr:\n  oops"));
  CHECK(contains(fails("{command: sleep 60, start_timeout: 0.3}"), "not ready after 0.3 s"));
  CHECK(contains(fails("{command: cat}"), "the first request has no completions"));
  CHECK(contains(fails("{command: " + command(dir, "") + ", workres: 2}"), "workers"));
  CHECK(contains(fails("{command: " + command(dir, "") + ", name: math}"), "use `as: NAME`"));
}

TEST_CASE("several workers run side by side, each answer goes to its own group") {
  const TempDir dir;
  const Rubric rubric = test::user_rubric(entry(command(dir, "  if not hello: time.sleep(0.3); reply['columns'] = {'pid': [os.getpid() for t in texts], 'who': texts}"), ", workers: 4"));
  CHECK(rubric.entries()[0].reward->concurrency() == 4);
  std::vector<std::vector<Score>> scores(8);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < scores.size(); ++i)
    threads.emplace_back([&, i] { scores[i] = rubric.score(group_of({std::string(i + 1, 'x'), "g" + std::to_string(i)})); });
  for (std::thread& t : threads) t.join();
  std::set<std::string> pids;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    CHECK(scores[i][0].value == static_cast<float>(i + 1));
    CHECK(scores[i][1].columns.at("who") == "g" + std::to_string(i));
    pids.insert(scores[i][0].columns.at("pid"));
  }
  CHECK(pids.size() > 1);
}

TEST_CASE("a long request and a flood on stderr do not block each other") {
  const TempDir dir;
  const Rubric rubric = test::user_rubric(entry(test::write_program(dir / "flood",
      "#!" + test::interpreter() + "\nimport sys, json\nwhile True:\n"
      "  sys.stderr.write('noise\\n' * 50000); sys.stderr.flush()\n"
      "  line = sys.stdin.readline()\n  if not line: break\n"
      "  r = json.loads(line)\n"
      "  print(json.dumps({'id': r['id'], 'rewards': [len(c['text']) for c in r['completions']]}), flush=True)\n")));
  CHECK(rubric.score(group_of({std::string(3'000'000, 'x')}))[0].value == 3e6f);
}

bool alive(pid_t pid) {
  std::error_code ignored;
  if (!std::filesystem::exists("/proc/" + std::to_string(pid), ignored)) return false;
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  const std::size_t end = text.rfind(')');
  return end != std::string::npos && text.substr(end, 3) != ") Z";
}
bool gone_soon(pid_t pid) {
  for (int i = 0; i < 500 && alive(pid); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  return !alive(pid);
}

TEST_CASE("nothing is left behind: after a normal end, and after our own death by SIGKILL") {
  const TempDir dir;
  const std::string pids = (dir / "pids").string();
  // The command, a child of it that ignores everything, and that one's shell.
  const std::string path = command(dir, "", "import subprocess\nchild = subprocess.Popen(['sh', '-c', 'trap \"\" TERM HUP INT; sleep 600; sleep 600'], stdin=subprocess.DEVNULL)\n"
                                            "open('" + pids + "', 'w').write(f'{os.getpid()} {child.pid}')\n");
  const auto read_pids = [&] {
    std::istringstream in(read_file(pids));
    std::pair<pid_t, pid_t> p{};
    in >> p.first >> p.second;
    return p;
  };
  {
    const Rubric rubric = test::user_rubric(entry(path));
    rubric.score(group_of({"a"}));
    CHECK(alive(read_pids().first));
  }
  CHECK(gone_soon(read_pids().first));
  CHECK(gone_soon(read_pids().second));

  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t run = fork();
  if (run == 0) {
    const Rubric rubric = test::user_rubric(entry(path));
    (void)!write(ready[1], "x", 1);
    pause();
    _exit(0);
  }
  char byte;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  const auto [worker, child] = read_pids();
  CHECK(alive(worker));
  CHECK(alive(child));
  kill(run, SIGKILL);
  waitpid(run, nullptr, 0);
  CHECK(gone_soon(worker));
  CHECK(gone_soon(child));
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("a command outlives the thread that asked first") {
  const TempDir dir;
  std::unique_ptr<Rubric> rubric;
  std::string first, second;
  const std::string path = command(dir, "  reply['columns'] = {'pid': [os.getpid() for t in texts]}");
  std::thread([&] { rubric = std::make_unique<Rubric>(test::user_rubric(entry(path))); }).join();
  std::thread([&] { first = rubric->score(group_of({"a"}))[0].columns.at("pid"); }).join();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  second = rubric->score(group_of({"a"}))[0].columns.at("pid");
  CHECK(first == second);
}

}  // namespace
}  // namespace r1
