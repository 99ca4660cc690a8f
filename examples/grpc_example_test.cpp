// The service in Python against our client and the conformance test.
#include <csignal>
#include <cstdio>

#include "proto/grpc_reward.h"
#include "proto/reward_conformance.h"
#include "rewards/users/child_process.h"
#include "rewards/users/user_test_support.h"

namespace r1 {
namespace {

std::string python() {
  const char* set = std::getenv("R1_GRPC_PYTHON");
  return set ? set : "python3";
}

TEST_CASE("grpc_reward: the example keeps to the contract and scores") {
  if (!grpc_available() || std::system((python() + " -c 'import grpc, grpc_tools' 2>/dev/null").c_str()) != 0) {
    test::skip("no gRPC in this build, or no Python with grpcio and grpcio-tools (R1_GRPC_PYTHON)");
    return;
  }
  const std::string folder = std::string(R1_SOURCE_DIR) + "/examples/grpc_reward";
  ChildProcess server({python(), folder + "/server.py", "--port", "0"});
  const auto ready = server.exchange("", ChildProcess::Clock::now() + std::chrono::seconds(30));
  CAPTURE(server.last_errors(20, "\n"));
  REQUIRE(ready.line.starts_with("listening on "));
  const std::string address = ready.line.substr(13);
  for (const char* name : {"contains_gold", "shortest"}) {
    ConformanceOptions options;
    options.target = address + "/" + name;
    const auto cases = check_reward_service(options);
    CHECK(cases.size() > 15);
    for (const ConformanceCase& c : cases) CHECK_MESSAGE(c.outcome == ConformanceCase::Outcome::kOk, c.what << ": " << c.found);
  }
  const Rubric rubric = test::user_rubric("{grpc: '" + address + "/contains_gold', verdict: true}, {name: 'grpc://" + address + "/shortest', weight: 0.1}", add_grpc_rewards);
  const auto scores = rubric.score(test::group_of({"thinking\nit is 2", "3", "2"}));
  CHECK(scores[0].value == 1.f);
  CHECK(scores[1].verdict == Verdict::kWrong);
  CHECK(scores[2].value == doctest::Approx(1.1));
  CHECK(scores[0].columns.at("last_line") == "it is 2");
  CHECK(rubric.entries()[0].reward->judges_answer());
}

}  // namespace
}  // namespace r1
