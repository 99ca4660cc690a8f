#include "model/checkpoint.h"

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "model/gguf_test_writer.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

using namespace r1;

namespace {

namespace fs = std::filesystem;

using test::contains;

// A tiny model whose weights and optimizer state depend on the step.
struct Run {
  ModelConfig config = ModelConfig::from_json(
      "{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
      "\"num_key_value_heads\":1,\"intermediate_size\":48,\"vocab_size\":33,\"tie_word_embeddings\":true}", "tiny");
  SaveCheckpointOptions options;

  WeightStore weights(std::uint64_t step) const {
    WeightStore store(config, DType::kF32);
    init_random(store, step, 0.1f);
    return store;
  }
  fs::path save(const fs::path& root, std::uint64_t step) const {
    const WeightStore store = weights(step);
    std::vector<TensorView> optimizer = store.snapshot(0).tensors;
    for (TensorView& t : optimizer) t.name = "master." + t.name;
    CheckpointState state;
    state.stage = "grpo";
    state.step = step;
    state.version = step;
    state.seed = ~std::uint64_t{0};
    state.data_cursor = 32 * step;
    state.rollout = step + 1;
    state.config_digest = "abc";
    state.plan = "{\"threads\":2}";
    state.extra = {{"note", "ä \"quoted\"\n"}, {"", "empty"}};
    return save_checkpoint(root, config, store.snapshot(step), optimizer, state, options);
  }
};

std::vector<std::string> names(const std::vector<fs::path>& paths) {
  std::vector<std::string> out;
  for (const fs::path& p : paths) out.push_back(p.filename().string());
  return out;
}

template <class F>
std::string refusal(F&& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

void damage(const fs::path& file, std::size_t at) {
  std::string content = read_file(file);
  content[std::min(at, content.size() - 1)] ^= 1;
  test::write_plain(file, content);
}

}  // namespace

TEST_CASE("a checkpoint gives back weights, optimizer and state, and loads as a model") {
  const test::TempDir dir;
  Run run;
  run.options.side_files = {{"tokenizer.json", "{}"}};
  const fs::path root = dir / "checkpoints", path = run.save(root, 50);
  CHECK(path == root / "step_000050");
  CHECK(fs::read_symlink(root / "latest") == "step_000050");
  const Checkpoint checkpoint(path);
  CHECK(checkpoint.state().step == 50);
  CHECK(checkpoint.state().seed == ~std::uint64_t{0});
  CHECK(checkpoint.state().extra.at("note") == "ä \"quoted\"\n");
  CHECK(CheckpointState::from_json(checkpoint.state().to_json(), "x") == checkpoint.state());
  const LoadedModel model = load_model(path, DType::kBF16);
  WeightStore expected(run.config, DType::kBF16);
  expected.load(run.weights(50).snapshot(0));
  CHECK(model.weights.digest() == expected.digest());
  WeightSnapshot master;
  const SafetensorsFile optimizer = checkpoint.optimizer();
  for (TensorView t : optimizer.tensors()) {
    CHECK(t.dtype == DType::kF32);
    t.name = t.name.substr(7);
    master.tensors.push_back(t);
  }
  WeightStore back(run.config, DType::kF32);
  back.load(master);
  CHECK(back.digest() == run.weights(50).digest());
}

TEST_CASE("the newest complete one is chosen; torn ones are skipped with a message, refused when named") {
  const test::TempDir dir;
  const Run run;
  const fs::path root = dir / "run" / "checkpoints";
  for (const std::uint64_t step : {5, 10, 15, 20}) run.save(root, step);
  CHECK(names(list_checkpoints(root)) == std::vector<std::string>{"step_000005", "step_000010", "step_000015", "step_000020"});
  CHECK(newest_checkpoint(root)->state().step == 20);

  damage(root / "step_000020" / "model.safetensors", 4000);
  fs::remove(root / "step_000015" / "state" / "optimizer.safetensors");
  std::vector<std::string> said;
  const auto hear = [&](const std::string& text) { said.push_back(text); };
  CHECK(newest_checkpoint(root, hear)->state().step == 10);
  REQUIRE(said.size() == 2);
  CHECK(contains(said[0], "step_000020 is damaged: model.safetensors has digest"));
  CHECK(contains(said[1], "step_000015 is damaged: state/optimizer.safetensors is missing"));
  CHECK(contains(refusal([&] { Checkpoint(root / "step_000020"); }), "its content changed"));
  CHECK(contains(refusal([&] { Checkpoint(root / "latest"); }), "its content changed"));
  CHECK(Checkpoint(root / "step_000005").state().step == 5);
  CHECK(contains(refusal([&] { Checkpoint(dir / "nowhere"); }), "not there"));
  CHECK_FALSE(newest_checkpoint(dir / "nowhere").has_value());
}

TEST_CASE("every kind of damage is found") {
  const test::TempDir dir;
  const Run run;
  const auto after = [&](auto&& change) {
    fs::remove_all(dir / "c");
    const fs::path path = run.save(dir / "c", 7);
    change(path);
    return refusal([&] { const Checkpoint opened(path); });
  };
  CHECK(after([](const fs::path&) {}) == "accepted");
  for (const char* name : {"config.json", "model.safetensors", "state/state.json", "state/optimizer.safetensors"}) {
    CAPTURE(name);
    const std::string flipped = after([&](const fs::path& p) { damage(p / name, 100); });
    CHECK(contains(flipped, name));
    CHECK(contains(flipped, "digest"));
    CHECK(contains(after([&](const fs::path& p) { fs::remove(p / name); }), std::string(name) + " is missing"));
    CHECK(contains(after([&](const fs::path& p) { fs::resize_file(p / name, fs::file_size(p / name) - 1); }), "bytes,"));
  }
  CHECK(contains(after([](const fs::path& p) { fs::remove(p / "manifest.json"); }), "manifest.json is missing"));
  CHECK(contains(after([](const fs::path& p) { fs::resize_file(p / "manifest.json", 100); }), "not valid JSON"));
  CHECK(contains(after([](const fs::path& p) { write_file_atomic(p / "extra.bin", "x"); }), "extra.bin is not in the manifest"));
  CHECK(contains(after([](const fs::path& p) { fs::rename(p, p.parent_path() / "step_000008"); fs::create_directory(p); }), "manifest.json is missing"));
  fs::remove_all(dir / "c");
  const fs::path path = run.save(dir / "c", 7);
  fs::rename(path, dir / "c" / "step_000009");
  CHECK(contains(refusal([&] { const Checkpoint opened(dir / "c" / "step_000009"); }), "holds step 7"));
  // A single changed character anywhere in the manifest.
  const fs::path other = run.save(dir / "d", 7);
  const std::string manifest = read_file(other / "manifest.json");
  for (std::size_t i = 0; i < manifest.size(); i += 3) {
    if (manifest[i] == ' ' || manifest[i] == '\n') continue;
    std::string changed = manifest;
    changed[i] = changed[i] == '1' ? '2' : '1';
    test::write_plain(other / "manifest.json", changed);
    if (refusal([&] { const Checkpoint opened(other, Checkpoint::Verify::kSizes); }) == "accepted") FAIL("byte " << i << " of the manifest");
  }
}

TEST_CASE("only the newest `keep` stay, the one just written always") {
  const test::TempDir dir;
  Run run;
  run.options.keep = 2;
  for (const std::uint64_t step : {1, 2, 3, 4}) run.save(dir.path(), step);
  CHECK(names(list_checkpoints(dir.path())) == std::vector<std::string>{"step_000003", "step_000004"});
  run.save(dir.path(), 2);  // a run that went back
  CHECK(names(list_checkpoints(dir.path())) == std::vector<std::string>{"step_000002", "step_000004"});
  run.options.keep = 1;
  run.save(dir.path(), 1234567);
  CHECK(names(list_checkpoints(dir.path())) == std::vector<std::string>{"step_1234567"});
  run.save(dir.path(), 1234567);  // again, in place
  CHECK(Checkpoint(dir / "step_1234567").state().step == 1234567);
}

TEST_CASE("a full disk at any operation: an error, the old checkpoint stays, nothing half-written") {
  const test::TempDir dir;
  Run run;
  run.options.keep = 1;
  run.save(dir.path(), 1);
  int operations = 0;
  set_file_fault_hook([&](FileOp, const fs::path&) { return ++operations, 0; });
  run.save(dir / "dry", 1);
  set_file_fault_hook({});
  fs::remove_all(dir / "dry");
  REQUIRE(operations > 10);
  for (int fail_at = 1; fail_at <= operations; ++fail_at) {
    int count = 0;
    set_file_fault_hook([&](FileOp, const fs::path&) { return ++count == fail_at ? ENOSPC : 0; });
    const std::string text = refusal([&] { run.save(dir.path(), 2); });
    set_file_fault_hook({});
    CAPTURE(fail_at);
    CHECK(contains(text, "No space left"));
    const auto newest = newest_checkpoint(dir.path());
    REQUIRE(newest.has_value());
    CHECK(fs::exists(dir / "step_000001"));  // the new one was not known to be safe yet
    for (const auto& entry : fs::directory_iterator(dir.path())) CHECK_FALSE(contains(entry.path().string(), ".tmp-"));
    fs::remove_all(dir / "step_000002");
  }
}

TEST_CASE("killed at any operation: a complete checkpoint is always there") {
  const test::TempDir dir;
  Run run;
  run.options.keep = 1;
  run.save(dir.path(), 1);
  for (int kill_at = 1; kill_at < 200; ++kill_at) {
    const pid_t child = fork();
    if (child == 0) {
      int count = 0;
      set_file_fault_hook([&](FileOp, const fs::path&) { return ++count == kill_at ? (_exit(9), 0) : 0; });
      run.save(dir.path(), 2);
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    const auto newest = newest_checkpoint(dir.path());
    REQUIRE(newest.has_value());
    const std::uint64_t step = newest->state().step;
    WeightStore expected(run.config, DType::kBF16);
    expected.load(run.weights(step).snapshot(0));
    CHECK(load_model(newest->path(), DType::kBF16).weights.digest() == expected.digest());
    CHECK(fs::exists(dir / "latest" / "manifest.json"));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
      CHECK(step == 2);
      CHECK(kill_at > 10);
      return;
    }
    remove_temporaries(dir.path());
    fs::remove_all(dir / "step_000002");
    replace_symlink(dir / "latest", "step_000001");
  }
  FAIL("never finished");
}

TEST_CASE("states of another format or with wrong fields are refused") {
  const std::string good = CheckpointState{}.to_json();
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return refusal([&] { CheckpointState::from_json(text, "state.json"); });
  };
  CHECK(with("\"step\": 0", "\"step\": 0") == "accepted");
  CHECK(contains(with("\"step\": 0", "\"step\": -1"), "state.json: step is -1"));
  CHECK(contains(with("\"step\": 0", "\"stop\": 0"), "step is missing"));
  CHECK(contains(with("\"stage\": \"\"", "\"stage\": 3"), "stage is 3; a text"));
  CHECK(contains(with("\"format\": 1", "\"format\": 2"), "format 2, this program reads 1"));
  CHECK(contains(with("\"extra\": {}", "\"extra\": {\"a\": 1}"), "extra: a is 1"));
  CHECK(contains(refusal([] { CheckpointState::from_json("{", "s"); }), "not valid JSON"));
}
