// Client, server and conformance test of the gRPC rewards, over 127.0.0.1.
#include <atomic>
#include <chrono>
#include <cmath>
#include <set>
#include <thread>

#include "proto/grpc_reward.h"
#include "proto/reward_conformance.h"
#include "proto/reward_server.h"
#include "rewards/users/user_test_support.h"
#include "tests/support/certificate.h"

namespace r1 {
namespace {

using test::contains;
using test::error_of;
using test::group_of;
using Clock = std::chrono::steady_clock;
using Outcome = ConformanceCase::Outcome;

// A reward that a function computes.
class Scripted : public RewardFunction {
 public:
  using Function = std::function<void(const SampleGroup&, std::span<RewardResult>)>;
  explicit Scripted(Function f, bool judges = false) : function_(std::move(f)), judges_(judges) {}
  std::string_view name() const override { return "scripted"; }
  bool judges_answer() const override { return judges_; }
  std::string check_prompt(const Prompt& p) const override { return p.reference.empty() ? "no gold" : ""; }
  void score(const SampleGroup& g, std::span<RewardResult> out) const override {
    ++calls;
    function_(g, out);
  }
  mutable std::atomic<int> calls = 0;

 private:
  Function function_;
  bool judges_;
};

void lengths(const SampleGroup& g, std::span<RewardResult> out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i].value = static_cast<float>(g.completions[i].text.size());
}

RewardServerOptions any_port(int concurrency = 4) {
  RewardServerOptions o;
  o.listen = "127.0.0.1:0";
  o.concurrency = concurrency;
  return o;
}
std::string entry(const RewardServer& server, const std::string& more = "", const std::string& name = "scripted") {
  return message("{grpc: '127.0.0.1:", server.port(), "/", name, "', start_timeout: 30", more, "}");
}
Rubric rubric(const std::string& text) { return test::user_rubric(text, add_grpc_rewards); }

TEST_CASE("a group goes to the service and its results come back") {
  SampleGroup seen;
  const Scripted reward([&](const SampleGroup& g, std::span<RewardResult> out) {
    if (out.empty()) return;
    seen = g;
    lengths(g, out);
    out[1].value.reset();
    out[2].verdict = Verdict::kCorrect;
    out[2].detail = "fine";
    out[0].columns = {{"who", "first"}, {"metric/longest", "4.5"}};
    out[2].steps = {{3, 0.25f}};
  }, true);
  const RewardServer server(any_port(), {{"scripted", "", &reward}});
  const Rubric r = rubric(entry(server));
  SampleGroup group = group_of({"a", "bb", "cc\n\xff"});
  group.prompt.messages = {{"user", "What is 1 + 1?"}};
  group.prompt.task = "math";
  group.completions[1].stop = StopReason::kLength;
  const auto scores = r.score(group);
  CHECK(scores[0].value == 1.f);
  CHECK_FALSE(scores[1].parts.contains("scripted"));
  CHECK(scores[2].value == 6.f);  // the bad byte arrives as three of U+FFFD
  CHECK(scores[2].verdict == Verdict::kCorrect);
  CHECK(scores[2].detail == "fine");
  REQUIRE(scores[2].steps.size() == 1);
  CHECK(scores[2].steps[0].token == 3);
  CHECK(scores[2].steps[0].value == 0.25f);
  CHECK(scores[0].columns.at("who") == "first");
  CHECK(scores[0].columns.at("metric/longest") == "4.5");
  CHECK_FALSE(scores[1].columns.contains("metric/longest"));
  CHECK(seen.prompt.id == "row-1");
  CHECK(seen.prompt.task == "math");
  CHECK(seen.prompt.reference == "2");
  CHECK(seen.prompt.columns == group.prompt.columns);
  CHECK(seen.prompt.messages.at(0).content == "What is 1 + 1?");
  CHECK(seen.completions[0].tokens == group.completions[0].tokens);
  CHECK(seen.completions[1].stop == StopReason::kLength);
  CHECK(r.score(group_of({})).empty());
  Prompt bad = group.prompt;
  bad.reference.clear();
  CHECK(r.check_prompts(std::span(&bad, 1)).problems.at(0).text == "scripted: no gold");
  // The same by its URL, as name of the entry.
  CHECK(rubric(message("grpc://127.0.0.1:", server.port(), "/scripted")).score(group)[0].value == 1.f);
}

TEST_CASE("failures: of the reward, of numbers, in time") {
  const Scripted raises([](const SampleGroup&, std::span<RewardResult>) { throw Error("no such case\n" + std::string(20'000, 'x') + " end"); });
  const Scripted nan([](const SampleGroup& g, std::span<RewardResult> out) {
    lengths(g, out);
    if (!out.empty()) out[1].value = NAN;
  });
  const Scripted slow([](const SampleGroup& g, std::span<RewardResult> out) {
    if (!out.empty() && g.completions[0].text == "slow") std::this_thread::sleep_for(std::chrono::milliseconds(2000));
    lengths(g, out);
  });
  const RewardServer server(any_port(), {{"raises", "", &raises}, {"nan", "", &nan}, {"slow", "", &slow}});
  const std::string raised = error_of([&] { rubric(entry(server, "", "raises")).score(group_of({"a"})); });
  CHECK(contains(raised, "prompt row-1"));
  CHECK(contains(raised, "raises: no such case"));
  CHECK(raised.ends_with(" end"));  // longer than gRPC's own messages may be
  CHECK(contains(error_of([&] { rubric(entry(server, "", "nan")).score(group_of({"a", "b"})); }), "sample 1: the reward is nan"));
  const auto start = Clock::now();
  CHECK(contains(error_of([&] { rubric(entry(server, ", timeout: 0.2", "slow")).score(group_of({"slow"})); }), "Score: no answer within 0.2 s"));
  CHECK(Clock::now() - start < std::chrono::milliseconds(1900));  // not when the server has done
  const auto scores = rubric(entry(server, ", timeout: 0.2, on_error: abstain, verdict: true", "slow")).score(group_of({"slow", "b"}));
  CHECK(scores[0].verdict == Verdict::kTimeout);
  CHECK(scores[1].parts.empty());
  CHECK(rubric(entry(server, ", on_error: abstain, verdict: true", "raises")).score(group_of({"a"}))[0].verdict == Verdict::kError);
}

TEST_CASE("before the run: nobody there, no such reward, another machine without TLS, wrong entries") {
  const Scripted reward(lengths);
  const RewardServer server(any_port(), {{"brevity", "", &reward}, {"scripted", "", &reward}});
  const auto fails = [](const std::string& text) { return error_of([&] { rubric(text); }); };
  CHECK(contains(fails("{grpc: '127.0.0.1:1/x', start_timeout: 0.3}"), "Describe: no answer within 0.3 s"));
  CHECK(contains(fails(entry(server, "", "brevit")), "did you mean 'brevity'?"));
  CHECK(contains(fails("{grpc: 'example.org:50061/x'}"), "add tls: {ca: system}"));
  CHECK(contains(fails("{grpc: localhost}"), "write HOST:PORT/NAME"));
  CHECK(contains(fails("{grpc: 'localhost:x/y'}"), "write HOST:PORT/NAME"));
  CHECK(contains(fails("{grpc: 'localhost:1/'}"), "write HOST:PORT/NAME"));
  CHECK(contains(fails(entry(server, ", retires: 3")), "retires"));
  CHECK(contains(fails(entry(server, ", tls: {ca: /no/such/file}")), "/no/such/file"));
  CHECK(contains(fails(entry(server, ", name: math")), "use `as: NAME`"));
  RewardServerOptions open = any_port();
  open.listen = "0.0.0.0:0";
  CHECK(contains(error_of([&] { RewardServer(open, {{"a", "", &reward}}); }), "give --tls-cert"));
  CHECK(contains(error_of([&] { RewardServer(any_port(), {{"a", "", &reward}, {"a", "", &reward}}); }), "two rewards are called 'a'"));
  RewardServerOptions taken = any_port();
  taken.listen = message("127.0.0.1:", server.port());
  CHECK(contains(error_of([&] { RewardServer(taken, {{"a", "", &reward}}); }), "is the port in use"));
}

TEST_CASE("a service that goes away and comes back: tried again; what was scored is not scored twice") {
  const Scripted reward(lengths);
  auto server = std::make_unique<RewardServer>(any_port(), std::vector<ServedReward>{{"scripted", "", &reward}});
  RewardServerOptions same = any_port();
  same.listen = message("127.0.0.1:", server->port());
  const Rubric r = rubric(entry(*server, ", retries: 20, timeout: 20"));
  CHECK(r.score(group_of({"a"}))[0].value == 1.f);
  server.reset();
  std::thread back([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    server = std::make_unique<RewardServer>(same, std::vector<ServedReward>{{"scripted", "", &reward}});
  });
  CHECK(r.score(group_of({"bb"}))[0].value == 2.f);
  back.join();
  CHECK(reward.calls == 2);
}

TEST_CASE("draining: what runs may finish, what comes is refused") {
  std::atomic<bool> begun = false;
  const Scripted reward([&](const SampleGroup& g, std::span<RewardResult> out) {
    begun = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    lengths(g, out);
  });
  RewardServer server(any_port(), {{"scripted", "", &reward}});
  const Rubric r = rubric(entry(server, ", retries: 0"));
  float value = 0;
  std::thread call([&] { value = r.score(group_of({"abc"}))[0].value; });
  while (!begun) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(server.drain(std::chrono::seconds(5)) == 0);
  call.join();
  CHECK(value == 3.f);
  CHECK(contains(error_of([&] { r.score(group_of({"a"})); }), "is the service running"));
}

TEST_CASE("groups side by side, at most so many at once at the server; each gets its own results") {
  std::atomic<int> running = 0, most = 0;
  const Scripted reward([&](const SampleGroup& g, std::span<RewardResult> out) {
    const int now = ++running;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    lengths(g, out);
    --running;
  });
  const RewardServer server(any_port(3), {{"scripted", "", &reward}});
  const Rubric r = rubric(entry(server));
  CHECK(r.entries()[0].reward->concurrency() == 16);
  std::vector<float> values(24);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < values.size(); ++i)
    threads.emplace_back([&, i] { values[i] = r.score(group_of({std::string(i + 1, 'x')}))[0].value; });
  for (std::thread& t : threads) t.join();
  for (std::size_t i = 0; i < values.size(); ++i) CHECK(values[i] == static_cast<float>(i + 1));
  CHECK(most == 3);
  CHECK(server.counts().calls == 24);
}

TEST_CASE("TLS: a certificate that is trusted, one that is not, a client's own") {
  const test::TempDir dir;
  const auto make = [&](const std::string& name) { return test::make_certificate((dir / (name + ".key")).string(), (dir / (name + ".pem")).string()); };
  if (!make("server") || !make("client")) {
    MESSAGE("no openssl here: not tried");
    return;
  }
  const auto file = [&](const std::string& name) { return (dir / name).string(); };
  const Scripted reward(lengths);
  RewardServerOptions o = any_port();
  o.listen = "localhost:0";
  o.tls_cert = file("server.pem");
  o.tls_key = file("server.key");
  const auto entry_with = [&](const RewardServer& s, const std::string& tls, double start_timeout = 30) {
    return message("{grpc: 'localhost:", s.port(), "/scripted', start_timeout: ", start_timeout, tls, "}");
  };
  {
    const RewardServer server(o, {{"scripted", "", &reward}});
    CHECK(rubric(entry_with(server, ", tls: {ca: '" + file("server.pem") + "'}")).score(group_of({"a"}))[0].value == 1.f);
    CHECK(contains(error_of([&] { rubric(entry_with(server, ", tls: {ca: '" + file("client.pem") + "'}", 0.7)); }), "Describe: no answer within 0.7 s"));
  }
  o.tls_client_ca = file("client.pem");
  const RewardServer server(o, {{"scripted", "", &reward}});
  const std::string trust = ", tls: {ca: '" + file("server.pem") + "'";
  CHECK(rubric(entry_with(server, trust + ", cert: '" + file("client.pem") + "', key: '" + file("client.key") + "'}")).score(group_of({"ab"}))[0].value == 2.f);
  CHECK_FALSE(error_of([&] { rubric(message("{grpc: 'localhost:", server.port(), "/scripted', start_timeout: 0.5", trust, "}}")); }) == "no error");
}

TEST_CASE("messages longer than a limit say so before they are sent, and at the server") {
  const Scripted reward(lengths);
  RewardServerOptions small = any_port();
  small.max_message_mb = 1;
  const RewardServer server(small, {{"scripted", "", &reward}});
  const SampleGroup big = group_of({std::string(3 << 20, 'x')});
  CHECK(contains(error_of([&] { rubric(entry(server, ", max_message_mb: 2")).score(big); }), "raise max_message_mb here and at the server"));
  CHECK(contains(error_of([&] { rubric(entry(server)).score(big); }), "too long for one side"));
}

int count(const std::vector<ConformanceCase>& cases, Outcome outcome) {
  int n = 0;
  for (const ConformanceCase& c : cases) {
    n += c.outcome == outcome;
    if (c.outcome != Outcome::kOk) MESSAGE(c.what << ": " << c.found);
  }
  return n;
}

TEST_CASE("the conformance test passes our own service, and finds what is wrong with others") {
  const auto built_in = make_reward("math");
  const Scripted lonely([](const SampleGroup& g, std::span<RewardResult> out) {  // forgets what it should do for one
    if (out.size() == 1) throw Error("index 1 is out of range");
    lengths(g, out);
  });
  const Scripted infinite([](const SampleGroup& g, std::span<RewardResult> out) {
    lengths(g, out);
    for (std::size_t i = 0; i < out.size(); ++i)
      if (g.completions[i].text.empty()) out[i].value = -INFINITY;
  });
  std::atomic<int> runs = 0;
  const Scripted random([&](const SampleGroup&, std::span<RewardResult> out) {  // another value with each run
    const int now = ++runs;
    for (RewardResult& r : out) r.value = static_cast<float>(now);
  });
  RewardServerOptions small = any_port();
  small.max_message_mb = 4;
  const RewardServer server(any_port(), {{"math", "", built_in.get()}, {"lonely", "", &lonely}, {"infinite", "", &infinite}, {"random", "", &random}});
  const RewardServer short_messages(small, {{"math", "", built_in.get()}});
  const auto check = [](const RewardServer& s, const std::string& name) {
    ConformanceOptions o;
    o.target = message("127.0.0.1:", s.port(), "/", name);
    return check_reward_service(o);
  };
  const auto good = check(server, "math");
  CHECK(count(good, Outcome::kOk) == static_cast<int>(good.size()));
  CHECK(good.size() >= 18);
  const auto repeated = check(server, "random");  // its repeated request got the first one's reply
  CHECK(count(repeated, Outcome::kOk) == static_cast<int>(repeated.size()));
  CHECK(server.counts().repeated == 2);
  const auto failed = [](const std::vector<ConformanceCase>& cases) {
    std::string out;
    for (const ConformanceCase& c : cases)
      if (c.outcome == Outcome::kFailed) out += c.what + ": " + c.found + "\n";
    return out;
  };
  CHECK(contains(failed(check(server, "lonely")), "a group of 1: the reward failed: lonely: index 1"));
  CHECK(contains(failed(check(server, "infinite")), "an empty completion: sample 0: the reward is -inf"));
  CHECK(contains(failed(check(server, "nobody")), "it has 'nobody': it has: infinite, lonely, math and random"));
  CHECK(contains(failed(check(short_messages, "math")), "raise the server's limit of received messages"));
}

}  // namespace
}  // namespace r1
