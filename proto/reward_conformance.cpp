#include "proto/reward_conformance.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>
#include <thread>

#include <grpcpp/generic/generic_stub.h>
#include <google/protobuf/util/message_differencer.h>

#include "core/error.h"
#include "core/files.h"
#include "core/suggest.h"
#include "proto/wire.h"

namespace r1 {
namespace {

using Outcome = ConformanceCase::Outcome;
using Clock = std::chrono::system_clock;

constexpr int kMaxMessage = 64 << 20;

class Check {
 public:
  explicit Check(const ConformanceOptions& options) : options_(options), target_(parse_target(options.target)) {
    GrpcTls tls;
    tls.used = !options.tls_ca.empty();
    if (tls.used && options.tls_ca != "system") tls.ca = read_file(options.tls_ca);
    if (!tls.used && !target_.loopback) throw ConfigError(message("--check ", options.target, " is another machine; give --tls-ca FILE or --tls-ca system"));
    channel_ = open_channel(target_.address, tls, kMaxMessage);
    stub_ = wire::RewardService::NewStub(channel_);
  }

  std::vector<ConformanceCase> run() {
    if (!describe()) {
      not_tried("all that follows", "Describe must work first");
      return std::move(cases_);
    }
    if (plain()) {
      repeated();
      empty();
      sizes();
      strange_texts();
      side_by_side();
      long_message();
      short_deadline();
    } else {
      not_tried("all that needs a reward that scores", "a plain group must work first");
    }
    unknown_reward();
    bare_prompt();
    still_there();
    health();
    return std::move(cases_);
  }

 private:
  static GrpcTarget parse_target(const std::string& text) {
    try {
      return parse_grpc_target(text);
    } catch (const ConfigError& e) {
      throw ConfigError(message("--check ", e.what()));
    }
  }

  void add(const std::string& what, const std::string& fault, bool must = true) {
    cases_.push_back({fault.empty() ? Outcome::kOk : must ? Outcome::kFailed : Outcome::kAdvice, what, fault});
  }
  void not_tried(const std::string& what, const std::string& why) { cases_.push_back({Outcome::kNotTried, what, why}); }

  static std::string text(const grpc::Status& s) { return message("status ", static_cast<int>(s.error_code()), " (", s.error_message(), ")"); }
  void prepare(grpc::ClientContext& context, double seconds) const {
    context.set_deadline(Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
  }

  wire::ScoreRequest request(const std::vector<std::string>& completions) {
    SampleGroup group;
    group.prompt.id = "conformance";
    group.prompt.text = options_.prompt;
    group.prompt.reference = options_.reference;
    group.prompt.messages = {{"user", options_.prompt}};
    group.prompt.columns = options_.columns;
    for (const std::string& name : info_.required_columns()) group.prompt.columns.emplace(name, "\"2\"");
    for (const std::string& t : completions) {
      Completion& c = group.completions.emplace_back();
      c.text = t;
      c.tokens = {1, 2, 3};
      c.stop = StopReason::kEos;
    }
    wire::ScoreRequest out;
    to_wire(group, out);
    out.set_reward(target_.reward);
    out.set_request_id(message("conformance-", next_id_++, "-", Clock::now().time_since_epoch().count()));
    return out;
  }
  std::vector<std::string> texts(std::size_t n) const {
    std::vector<std::string> have = options_.completions;
    if (have.empty()) have = {"<think>1 + 1 is 2.</think>\n<answer>2</answer>", "<think>hm</think>\n<answer>3</answer>", "I do not know."};
    std::vector<std::string> out;
    for (std::size_t i = 0; i < n; ++i) out.push_back(have[i % have.size()]);
    return out;
  }

  // "" if the reply is one that a client takes; an error of the reward counts as a reply where `may_fail`.
  std::string fault_of(const grpc::Status& status, const wire::ScoreRequest& asked, const wire::ScoreReply& reply, bool may_fail = false) const {
    if (!status.ok()) return text(status);
    if (!reply.error().empty()) return may_fail ? "" : "the reward failed: " + reply.error();
    try {
      std::vector<RewardResult> results(static_cast<std::size_t>(asked.completions_size()));
      fill_results(from_wire(reply, asked.request_id()), results);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  std::string score(const wire::ScoreRequest& asked, wire::ScoreReply& reply, bool may_fail = false) {
    grpc::ClientContext context;
    prepare(context, options_.timeout_s);
    return fault_of(stub_->Score(&context, asked, &reply), asked, reply, may_fail);
  }

  bool describe() {
    wire::DescribeReply reply;
    grpc::ClientContext context;
    prepare(context, options_.timeout_s);
    context.set_wait_for_ready(true);
    const grpc::Status status = stub_->Describe(&context, {}, &reply);
    add("Describe answers", status.ok() ? "" : text(status) + "; is the service running, and does it implement r1.rewards.v1.RewardService?");
    if (!status.ok()) return false;
    add("Describe: protocol 1", reply.protocol() == kRewardProtocol ? "" : message("it says ", reply.protocol(), "; set DescribeReply.protocol to 1"));
    std::set<std::string> names;
    std::string fault;
    for (const wire::RewardInfo& r : reply.rewards()) {
      if (r.name().empty()) fault = "a reward has an empty name";
      else if (!names.insert(r.name()).second) fault = message("two rewards are called '", r.name(), "'");
      if (r.name() == target_.reward) info_ = r;
    }
    add("Describe: each reward has a name of its own", fault);
    const std::vector<std::string> all(names.begin(), names.end());
    add(message("Describe: it has '", target_.reward, "'"), info_.name().empty() ? "it has: " + join_names(all) : "");
    return !info_.name().empty();
  }

  bool plain() {
    const auto asked = request(texts(4));
    wire::ScoreReply reply;
    std::string fault = score(asked, reply);
    if (fault.starts_with("the reward failed")) fault += "; give a row that it can score with --row FILE";
    add("a group of 4: one finite value or none for each, verdicts, columns", fault);
    return fault.empty();
  }

  void repeated() {
    const auto asked = request(texts(3));
    wire::ScoreReply first, second;
    std::string fault = score(asked, first);
    if (fault.empty()) fault = score(asked, second);
    if (!fault.empty()) return add("a repeated request is answered", fault);
    add("a repeated request is answered", "");
    const bool equal = google::protobuf::util::MessageDifferencer::Equals(first, second);
    add("a repeated request (same request_id) gets the same reply",
        equal ? "" : "the two replies differ; keep replies by request_id, so that a retry does not run a random or costly reward twice", false);
  }

  void empty() {
    const auto asked = request({});
    wire::ScoreReply reply;
    add("a group without completions has no results", score(asked, reply));
  }

  void sizes() {
    for (const std::size_t n : {std::size_t{1}, std::size_t{64}}) {
      const auto asked = request(texts(n));
      wire::ScoreReply reply;
      add(message("a group of ", n), score(asked, reply));
    }
  }

  void strange_texts() {
    const std::pair<const char*, std::string> cases[] = {
        {"an empty completion", ""}, {"white space alone", " \n\t "}, {"text with a zero byte", std::string("a\0b", 3)},
        {"text of several scripts and an emoji", "\xe7\xad\x94\xe6\xa1\x88 \xd0\xbe\xd1\x82\xd0\xb2\xd0\xb5\xd1\x82 \xf0\x9f\x99\x82"},
        {"a completion of a million characters", std::string(1'000'000, 'x')}};
    for (const auto& [what, completion] : cases) {
      const auto asked = request({completion, texts(1)[0]});
      wire::ScoreReply reply;
      add(what, score(asked, reply));
    }
  }

  void side_by_side() {
    constexpr int kCalls = 16;
    std::vector<std::string> faults(kCalls);
    std::vector<wire::ScoreRequest> asked;
    for (int i = 0; i < kCalls; ++i) asked.push_back(request(texts(static_cast<std::size_t>(i % 5))));
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < asked.size(); ++i)
      threads.emplace_back([&, i] {
        wire::ScoreReply reply;
        faults[i] = score(asked[i], reply);
      });
    for (std::thread& t : threads) t.join();
    const auto bad = std::find_if(faults.begin(), faults.end(), [](const std::string& f) { return !f.empty(); });
    add("16 groups side by side, each gets its own reply", bad == faults.end() ? "" : *bad);
  }

  void long_message() {
    const auto asked = request(std::vector<std::string>(6, std::string(std::size_t{1} << 20, 'y')));
    wire::ScoreReply reply;
    std::string fault = score(asked, reply);
    if (fault.starts_with("status 8")) fault += "; raise the server's limit of received messages to 64 MiB (in Python: options=[(\"grpc.max_receive_message_length\", 64 << 20)])";
    add("a message of 6 MiB", fault);
  }

  void short_deadline() {
    const auto asked = request(texts(4));
    wire::ScoreReply reply;
    grpc::ClientContext context;
    prepare(context, 0.0002);
    const grpc::Status status = stub_->Score(&context, asked, &reply);
    const bool fine = status.ok() || status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED || status.error_code() == grpc::StatusCode::CANCELLED;
    add("a call whose deadline is over", fine ? "" : text(status) + "; DEADLINE_EXCEEDED is what it should be");
  }

  void unknown_reward() {
    auto asked = request(texts(1));
    asked.set_reward("r1-no-such-reward");
    wire::ScoreReply reply;
    grpc::ClientContext context;
    prepare(context, options_.timeout_s);
    const grpc::Status status = stub_->Score(&context, asked, &reply);
    add("a reward that is not there: NOT_FOUND", status.error_code() == grpc::StatusCode::NOT_FOUND ? "" : status.ok() ? "it was scored; check ScoreRequest.reward" : text(status));
  }

  // No columns, no gold: it may fail, in the reply.
  void bare_prompt() {
    auto asked = request(texts(2));
    asked.clear_prompt();
    wire::ScoreReply reply;
    std::string fault = score(asked, reply, true);
    if (fault.starts_with("status")) fault += "; what the reward raises belongs into ScoreReply.error";
    add("a prompt without columns: scored, or ScoreReply.error", fault);
  }

  void still_there() {
    wire::DescribeReply reply;
    grpc::ClientContext context;
    prepare(context, options_.timeout_s);
    const grpc::Status status = stub_->Describe(&context, {}, &reply);
    add("after all this it still answers", status.ok() ? "" : text(status));
  }

  void health() {
    // By hand, as bytes: HealthCheckRequest with nothing in it (the whole server), HealthCheckResponse.status 1 = SERVING.
    grpc::GenericStub stub(channel_);
    grpc::CompletionQueue queue;
    grpc::ClientContext context;
    prepare(context, options_.timeout_s);
    const grpc::Slice nothing;
    const grpc::ByteBuffer request(&nothing, 1);
    grpc::ByteBuffer reply;
    grpc::Status status;
    const auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
    call->StartCall();
    call->Finish(&reply, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    queue.Shutdown();
    while (queue.Next(&tag, &ok)) {
    }
    std::string bytes;
    std::vector<grpc::Slice> slices;
    if (status.ok() && reply.Dump(&slices).ok())
      for (const grpc::Slice& s : slices) bytes.append(reinterpret_cast<const char*>(s.begin()), s.size());
    add("the standard health service says SERVING",
        !status.ok() ? "it is not there: " + text(status) + "; load balancers and supervisors ask it" : bytes == "\x08\x01" ? "" : "it says something else", false);
  }

  ConformanceOptions options_;
  GrpcTarget target_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<wire::RewardService::Stub> stub_;
  wire::RewardInfo info_;
  std::vector<ConformanceCase> cases_;
  int next_id_ = 1;
};

}  // namespace

std::vector<ConformanceCase> check_reward_service(const ConformanceOptions& options) { return Check(options).run(); }

}  // namespace r1
