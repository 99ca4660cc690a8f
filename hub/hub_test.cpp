// Downloads from a server on this machine that speaks the hub's API, faults included.
#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include <httplib.h>
#include <nlohmann/json.hpp>
#include <openssl/sha.h>

#include "core/error.h"
#include "core/files.h"
#include "hub/digest_check.h"
#include "hub/hub_client.h"
#include "hub/redirect_address.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::string hex(const unsigned char* digest, std::size_t size) {
  std::string out;
  char two[3];
  for (std::size_t i = 0; i < size; ++i) std::snprintf(two, sizeof two, "%02x", digest[i]), out += two;
  return out;
}
std::string sha256(const std::string& text) {
  unsigned char d[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), d);
  return hex(d, sizeof d);
}
std::string git_id(const std::string& text) {
  const std::string all = message("blob ", text.size(), '\0') + text;
  unsigned char d[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(all.data()), all.size(), d);
  return hex(d, sizeof d);
}

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";
// What signed addresses are made of: escaped slashes, colons, quotes and semicolons, a plus and an escaped one, an escaped percent sign.
constexpr const char* kSigned = "?X-Date=2026-01-01T00%3A00%3A00Z&disposition=inline%3B+filename%3D%22model.safetensors%22%3B&sig=a%2Fb%2Bc+d%25e%3D~";

// A hub with a model and a data set, and a storage on another port to which large files are redirected.
struct FakeHub {
  httplib::Server hub, storage;
  int hub_port = 0, storage_port = 0;
  std::thread hub_thread, storage_thread;
  std::map<std::string, std::string> files = {{"config.json", "{\"model_type\": \"llama\"}"}, {"tokenizer.json", "{}"}, {"README.md", "hello"}, {"pytorch_model.bin", "pickle"},
                                              {"model.safetensors", std::string()}, {"onnx/model.onnx", "x"}};
  std::string token;                      // asked for, where it is not empty
  std::atomic<int> cut_off{0};            // so many answers of the storage end half-way
  std::atomic<int> damaged{0};            // so many have a wrong byte
  std::atomic<int> busy{0};               // so many answers of the hub are 503
  std::atomic<bool> ranges{true};         // the storage knows ranges
  std::mutex mutex;
  std::vector<std::string> seen;          // what the storage was asked: "Range" and "Authorization" headers
  std::atomic<int> heads{0};

  FakeHub() {
    std::string& big = files["model.safetensors"];
    for (int i = 0; i < 300'000; ++i) big += static_cast<char>(i * 7 + i / 251);
    const auto guard = [this](const httplib::Request& r, httplib::Response& out) {
      if (busy > 0) return --busy, out.status = 503, false;
      if (!token.empty() && r.get_header_value("Authorization") != "Bearer " + token) return out.status = 401, false;
      return true;
    };
    hub.Get(R"(/api/models/org/name/revision/(.*))", [this, guard](const httplib::Request& r, httplib::Response& out) {
      if (!guard(r, out)) return;
      if (r.matches[1] != "main" && r.matches[1] != "v2") {
        out.status = 404;
        out.set_header("X-Error-Code", "RevisionNotFound");
        return;
      }
      nlohmann::json j = {{"sha", kCommit}, {"siblings", nlohmann::json::array()}};
      for (const auto& [name, text] : files) j["siblings"].push_back({{"rfilename", name}});
      out.set_content(j.dump(), "application/json");
    });
    hub.Get("/api/models/org/old/revision/main", [](const httplib::Request&, httplib::Response& out) { out.set_redirect("/api/models/org/name/revision/main", 307); });
    hub.Get("/api/models/org/evil/revision/main", [](const httplib::Request&, httplib::Response& out) {
      out.set_content(R"({"sha": "abc", "siblings": [{"rfilename": "../../escape.json"}]})", "application/json");
    });
    hub.Get(R"(/api/.*)", [](const httplib::Request&, httplib::Response& out) {
      out.status = 404;
      out.set_header("X-Error-Code", "RepoNotFound");
    });
    hub.Get(R"(/org/\w+/resolve/(\w+)/(.*))", [this, guard](const httplib::Request& r, httplib::Response& out) {
      if (!guard(r, out)) return;
      const auto it = files.find(r.matches[2]);
      if (r.matches[1] != kCommit || it == files.end()) {
        out.status = 404;
        out.set_header("X-Error-Code", "EntryNotFound");
        return;
      }
      heads += r.method == "HEAD";
      if (it->first.ends_with(".safetensors")) {
        out.set_redirect(message("http://localhost:", storage_port, "/bucket/", it->first, kSigned), 302);
        out.set_header("X-Linked-Etag", "\"" + sha256(it->second) + "\"");
        out.set_header("X-Linked-Size", std::to_string(it->second.size()));
        return;
      }
      out.set_header("ETag", "W/\"" + git_id(it->second) + "\"");
      out.set_content(it->second, "text/plain");
    });
    storage.Get(R"(/bucket/(.*))", [this](const httplib::Request& r, httplib::Response& out) {
      {
        const std::lock_guard lock(mutex);
        seen.push_back(message(r.get_header_value("Range"), "|", r.get_header_value("Authorization"), "|", r.target));
      }
      std::string text = files.at(r.matches[1]);
      if (damaged > 0) --damaged, text[text.size() / 3] ^= 1;
      std::size_t from = 0;
      if (ranges && r.has_header("Range")) from = std::stoull(r.get_header_value("Range").substr(6));
      if (cut_off > 0) {
        --cut_off;
        const std::string half = text.substr(from, (text.size() - from) / 2);
        if (from > 0) out.status = 206, out.set_header("Content-Range", message("bytes ", from, "-", text.size() - 1, "/", text.size()));
        const std::size_t all = text.size() - from;
        const_cast<httplib::Request&>(r).ranges.clear();  // the library would answer them by itself
        out.set_content_provider(all, "application/octet-stream", [half](std::size_t offset, std::size_t, httplib::DataSink& sink) {
          if (offset >= half.size()) return false;  // the connection breaks
          return sink.write(half.data() + offset, half.size() - offset);
        });
        return;
      }
      if (!ranges) const_cast<httplib::Request&>(r).ranges.clear();
      out.set_content(text, "application/octet-stream");
    });
    hub_port = hub.bind_to_any_port("127.0.0.1");
    storage_port = storage.bind_to_any_port("127.0.0.1");
    hub_thread = std::thread([this] { hub.listen_after_bind(); });
    storage_thread = std::thread([this] { storage.listen_after_bind(); });
    while (!hub.is_running() || !storage.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ~FakeHub() {
    hub.stop(), storage.stop();
    hub_thread.join(), storage_thread.join();
  }

  HubOptions options(const fs::path& cache) const {
    HubOptions o;
    o.endpoint = message("http://127.0.0.1:", hub_port, "/");
    o.cache = cache;
    o.retries = 3;
    o.retry_wait_s = 0.01;
    o.timeout_s = 5;
    return o;
  }
};

fs::path pull(HubOptions options, const std::string& name) {
  const HubName parsed = *parse_hub_model(name);
  return HubClient(std::move(options)).pull(parsed, [&](const HubListing& l) { return choose_model_files(l, parsed); });
}

using test::contains;
using test::error_of;

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
