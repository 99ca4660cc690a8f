// Downloads from a server on this machine that speaks the hub's API, faults included.
#include <doctest/doctest.h>

#include <set>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "hub/digest_check.h"
#include "hub/fake_hub.h"
#include "hub/hub_client.h"
#include "hub/redirect_address.h"
#include "tests/support/certificate.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

using test::contains;
using test::error_of;
using test::FakeHub;
using test::git_id;
using test::kCommit;
using test::kSigned;
using test::pull;
using test::sha256;

TEST_CASE("a model is downloaded into the cache's layout, once") {
  FakeHub hub;
  const test::TempDir cache;
  const fs::path snapshot = pull(hub.options(cache.path()), "org/name");
  CHECK(snapshot == cache / "models--org--name/snapshots" / kCommit);
  CHECK(read_file(snapshot / "model.safetensors") == hub.files["model.safetensors"]);
  CHECK(read_file(snapshot / "config.json") == hub.files["config.json"]);
  CHECK(fs::is_symlink(snapshot / "config.json"));
  CHECK(fs::read_symlink(snapshot / "config.json") == fs::path("../../blobs") / git_id(hub.files["config.json"]));
  CHECK(fs::exists(cache / "models--org--name/blobs" / sha256(hub.files["model.safetensors"])));
  CHECK_FALSE(fs::exists(snapshot / "pytorch_model.bin"));  // holds code
  CHECK_FALSE(fs::exists(snapshot / "onnx"));
  CHECK(read_file(cache / "models--org--name/refs/main") == kCommit);
  CHECK(find_hub_snapshot(cache.path(), *parse_hub_model("org/name"), "config.json") == snapshot);
  CHECK(find_hub_snapshot(cache.path(), *parse_hub_model(message("org/name@", kCommit)), "config.json") == snapshot);
  CHECK(find_hub_snapshot(cache.path(), *parse_hub_model("org/name@v9"), "").empty());
  const std::size_t asked = hub.seen.size();
  CHECK(asked == 1);
  pull(hub.options(cache.path()), "org/name@v2");
  CHECK(hub.seen.size() == asked);
  CHECK(read_file(cache / "models--org--name/refs/v2") == kCommit);
  pull(hub.options(cache.path()), "org/old");  // renamed: a redirect of the API
  CHECK(fs::exists(cache / "models--org--old/snapshots" / kCommit / "config.json"));
}

TEST_CASE("a signed address goes as it came") {
  FakeHub hub;
  const test::TempDir cache;
  pull(hub.options(cache.path()), "org/name");
  REQUIRE(hub.seen.size() == 1);
  CHECK(hub.seen[0] == message("||/bucket/model.safetensors", kSigned));
}

TEST_CASE("the head of a redirect") {
  CHECK(parse_redirect("HTTP/1.1 302 Found\r\nX-Location: no\r\nlocation:\thttp://a/b%2Fc?x=%3A+ \r\nLocation: second").location == "http://a/b%2Fc?x=%3A+");
  CHECK(parse_redirect("HTTP/1.1 302 Found\r\nlocation:\thttp://a/b").status == 302);
  CHECK(parse_redirect("HTTP/1.1 200 OK\r\nServer: a").location.empty());
  CHECK(parse_redirect("SSH-2.0-OpenSSH").status == 0);
  const RedirectAddress nobody = read_redirect({"HEAD", false, "127.0.0.1", 1, "/", {}, "", 2});
  CHECK(nobody.status == 0);
  CHECK(contains(nobody.error, "no connection"));
}

TEST_CASE("the head of a redirect over TLS, from a certificate that is trusted alone") {
  const test::TempDir dir;
  const std::string key = (dir / "k.pem").string(), cert = (dir / "c.pem").string();
  if (!test::make_certificate(key, cert)) {
    MESSAGE("no openssl here: not tried");
    return;
  }
  httplib::SSLServer server(cert.c_str(), key.c_str());
  std::string seen;
  server.Get("/a", [&](const httplib::Request& r, httplib::Response& out) {
    seen = r.get_header_value("Authorization");
    out.set_redirect(message("https://storage/b", kSigned), 302);
  });
  const test::Running running(server);
  const int port = running.port;
  HeadRequest request{"HEAD", true, "localhost", port, "/a", {{"Authorization", "Bearer t"}}, cert, 10};
  const RedirectAddress right = read_redirect(request);
  CHECK_MESSAGE(right.status == 302, right.error);
  CHECK(right.location == message("https://storage/b", kSigned));
  CHECK(seen == "Bearer t");
  seen.clear();
  request.ca_file.clear();  // the system does not know it
  CHECK(contains(read_redirect(request).error, "certificate verify failed"));
  request.ca_file = cert, request.host = "127.0.0.1";  // another name than the certificate's
  CHECK(contains(read_redirect(request).error, "certificate verify failed"));
  CHECK(seen.empty());
}

TEST_CASE("a broken transfer goes on where it stopped, in this call or the next") {
  FakeHub hub;
  const test::TempDir cache;
  const std::size_t size = hub.files["model.safetensors"].size();
  hub.cut_off = 2;
  const fs::path snapshot = pull(hub.options(cache.path()), "org/name");
  CHECK(read_file(snapshot / "model.safetensors") == hub.files["model.safetensors"]);
  REQUIRE(hub.seen.size() == 3);
  CHECK(hub.seen[1].starts_with(message("bytes=", size / 2, "-")));
  CHECK(hub.seen[2].starts_with(message("bytes=", size / 2 + (size - size / 2) / 2, "-")));

  const test::TempDir other;
  hub.seen.clear();
  hub.cut_off = 1;
  HubOptions impatient = hub.options(other.path());
  impatient.retries = 0;
  CHECK(contains(error_of([&] { pull(impatient, "org/name"); }), "goes on from there"));
  CHECK_FALSE(fs::exists(other / "models--org--name/refs/main"));
  pull(hub.options(other.path()), "org/name");
  REQUIRE(hub.seen.size() == 2);
  CHECK(hub.seen[1].starts_with(message("bytes=", size / 2, "-")));

  const test::TempDir third;  // a storage without ranges: from the beginning
  hub.ranges = false;
  hub.cut_off = 1;
  CHECK(read_file(pull(hub.options(third.path()), "org/name") / "model.safetensors") == hub.files["model.safetensors"]);
}

TEST_CASE("a wrong byte is found: once it is fetched again, twice it is an error") {
  FakeHub hub;
  const test::TempDir cache;
  hub.damaged = 1;
  CHECK(read_file(pull(hub.options(cache.path()), "org/name") / "model.safetensors") == hub.files["model.safetensors"]);
  const test::TempDir other;
  hub.damaged = 2;
  CHECK(contains(error_of([&] { pull(hub.options(other.path()), "org/name"); }), "another digest"));
  CHECK_FALSE(fs::exists(other / "models--org--name/snapshots" / kCommit / "model.safetensors"));
  CHECK(fs::is_empty(other / "models--org--name/blobs") == false);  // the small ones were good
}

TEST_CASE("tokens go to the hub and never to the storage") {
  FakeHub hub;
  hub.token = "secret";
  const test::TempDir cache;
  CHECK(contains(error_of([&] { pull(hub.options(cache.path()), "org/name"); }), "set HF_TOKEN"));
  HubOptions wrong = hub.options(cache.path());
  wrong.token = "other";
  CHECK(contains(error_of([&] { pull(wrong, "org/name"); }), "HF_TOKEN is set, but"));
  HubOptions right = hub.options(cache.path());
  right.token = "secret";
  pull(right, "org/name");
  REQUIRE(hub.seen.size() == 1);
  CHECK(hub.seen[0].find("secret") == std::string::npos);
  HubOptions clear = right;
  clear.endpoint = "http://mirror.example";
  CHECK(contains(error_of([&] { HubClient client(clear); }), "clear text"));
}

TEST_CASE("what is not there, and no network: one clear error each") {
  FakeHub hub;
  const test::TempDir cache;
  const HubOptions options = hub.options(cache.path());
  CHECK(contains(error_of([&] { pull(options, "org/none"); }), "there is no model org/none"));
  CHECK(contains(error_of([&] { pull(options, "org/name@v7"); }), "no revision v7"));
  CHECK(contains(error_of([&] { pull(options, "org/evil"); }), "outside the repository"));
  const HubName name = *parse_hub_model("org/name");
  CHECK(contains(error_of([&] { HubClient(options).pull(name, [](const HubListing&) { return std::vector<std::string>{"missing.json"}; }); }), "has no file missing.json"));
  hub.busy = 2;
  CHECK_NOTHROW(HubClient(options).list(name));
  hub.busy = 100;
  CHECK(contains(error_of([&] { HubClient(options).list(name); }), "answers HTTP 503 (after 3 retries)"));
  HubOptions nobody = options;
  nobody.endpoint = "http://127.0.0.1:1";
  const std::string text = error_of([&] { pull(nobody, "org/name"); });
  CHECK(contains(text, "cannot be reached"));
  CHECK(contains(text, "r1 pull org/name"));
  HubOptions offline = options;
  offline.offline = true;
  CHECK(contains(error_of([&] { pull(offline, "org/name"); }), "HF_HUB_OFFLINE is set"));
}

TEST_CASE("names of models and data sets") {
  CHECK(parse_hub_model("Qwen/Qwen2.5-0.5B")->id == "Qwen/Qwen2.5-0.5B");
  CHECK(parse_hub_model("org/name@v1.0")->revision == "v1.0");
  for (const char* bad : {"../../etc", "/abs/path", "a/b/c", "", "a//b", "org/na me", "-x/y", "org/name@", "org/name@../x"}) CHECK_MESSAGE(!parse_hub_model(bad), bad);
  const HubName data = *parse_hub_data("hf://openai/gsm8k@abc/socratic?split=test");
  CHECK(data.id == "openai/gsm8k");
  CHECK(data.revision == "abc");
  CHECK(data.path == "socratic");
  CHECK(data.split == "test");
  CHECK(to_string(data) == "hf://openai/gsm8k@abc/socratic?split=test");
  CHECK(parse_hub_data("hf://datasets/openai/gsm8k")->id == "openai/gsm8k");
  CHECK_FALSE(parse_hub_data("train.jsonl"));
  for (const char* bad : {"hf://gsm8k", "hf://a/../b", "hf://a/b/../../c", "hf://a/b?x=1"}) CHECK_THROWS_AS_MESSAGE(parse_hub_data(bad), ConfigError, bad);
}

TEST_CASE("a data set's files by configuration and split") {
  using Files = std::vector<std::string>;
  const auto chosen = [](const Files& files, const std::string& name) { return select_data_files(files, *parse_hub_data(name)); };
  const Files gsm8k = {"README.md", "main/train-00000-of-00001.parquet", "main/test-00000-of-00001.parquet", "socratic/train-00000-of-00001.parquet", "socratic/test-00000-of-00001.parquet"};
  CHECK(chosen(gsm8k, "hf://openai/gsm8k") == Files{"main/train-00000-of-00001.parquet"});
  CHECK(chosen(gsm8k, "hf://openai/gsm8k/socratic?split=test") == Files{"socratic/test-00000-of-00001.parquet"});
  CHECK(chosen(gsm8k, "hf://openai/gsm8k/main/test-00000-of-00001.parquet") == Files{"main/test-00000-of-00001.parquet"});
  CHECK(chosen({"data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet", "data/trained.parquet"}, "hf://a/b") ==
        Files{"data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"});
  CHECK(chosen({"rows.jsonl", "README.md"}, "hf://a/b") == Files{"rows.jsonl"});
  CHECK(chosen({"train.jsonl.gz", "test.jsonl.gz"}, "hf://a/b?split=test") == Files{"test.jsonl.gz"});
  CHECK_THROWS_WITH_AS(chosen(gsm8k, "hf://openai/gsm8k?split=validation"), doctest::Contains("no file of split validation"), ConfigError);
  CHECK_THROWS_WITH_AS(chosen({"algebra/train.parquet", "geometry/train.parquet"}, "hf://a/b"), doctest::Contains("several configurations: algebra and geometry"), ConfigError);
  CHECK_THROWS_WITH_AS(chosen({"README.md"}, "hf://a/b"), doctest::Contains("no JSON lines"), ConfigError);
}

}  // namespace
}  // namespace r1
