// Weights in pieces: the coded change is exact, whatever the bits; what is stale, torn, damaged or foreign is refused by name.
#include <doctest/doctest.h>

#include <cstring>

#include "core/rng.h"
#include "model/weight_store.h"
#include "proto/weight_transfer.h"
#include "rollout/engine_test_support.h"
#include "tests/support/errors.h"

namespace r1 {
namespace {

using Kind = WeightUpdateError::Kind;

std::vector<std::byte> random_bytes(StreamRng& rng, std::size_t n) {
  std::vector<std::byte> out(n);
  for (std::byte& b : out) b = static_cast<std::byte>(rng.below(256));
  return out;
}

TEST_CASE("a change is applied bit for bit, for any share of changed elements and any bits") {
  StreamRng rng(3, 0);
  for (const std::size_t width : {2u, 4u})
    for (const std::size_t n : {1u, 31u, 32u, 33u, 1000u, 70'000u})
      for (const std::uint64_t one_in : {1u, 2u, 300u, 5000u}) {
        const std::vector<std::byte> before = random_bytes(rng, n * width);
        std::vector<std::byte> now = before;
        std::int64_t expected = 0;
        for (std::size_t i = 0; i < n; ++i) {
          if (rng.below(one_in) != 0) continue;
          for (std::size_t b = 0; b < width; ++b) now[i * width + b] = static_cast<std::byte>(rng.below(256));
          expected += std::memcmp(&now[i * width], &before[i * width], width) != 0;
        }
        std::int64_t changed = 0;
        const std::string data = encode_change(before.data(), now.data(), n, width, changed);
        CHECK(changed == expected);
        CHECK(data.empty() == (expected == 0));
        std::vector<std::byte> got = before;
        if (!data.empty()) apply_change(data, got.data(), n, width);
        CHECK(got == now);
      }
}

TEST_CASE("small steps of few elements are coded in few bytes") {
  std::vector<std::uint16_t> before(100'000, 0x3C00), now = before;
  for (std::size_t i = 0; i < now.size(); i += 50) now[i] = static_cast<std::uint16_t>(now[i] + (i % 100 == 0 ? 1 : -1));
  std::int64_t changed = 0;
  const std::string data = encode_change(reinterpret_cast<std::byte*>(before.data()), reinterpret_cast<std::byte*>(now.data()), now.size(), 2, changed);
  CHECK(changed == 2000);
  CHECK(data.size() < 1000);
}

TEST_CASE("bytes that are no change throw, and touch nothing beyond the elements") {
  StreamRng rng(4, 0);
  std::vector<std::uint16_t> before(500), now(500);
  for (std::size_t i = 0; i < now.size(); ++i) now[i] = static_cast<std::uint16_t>(rng.below(65'536));
  std::int64_t changed = 0;
  const std::string good = encode_change(reinterpret_cast<std::byte*>(before.data()), reinterpret_cast<std::byte*>(now.data()), 500, 2, changed);
  std::vector<std::uint16_t> memory(502, 7);
  auto* inside = reinterpret_cast<std::byte*>(memory.data() + 1);
  CHECK_THROWS_AS(apply_change("", inside, 500, 2), Error);
  CHECK_THROWS_AS(apply_change(good.substr(0, good.size() / 2), inside, 500, 2), Error);
  CHECK_THROWS_AS(apply_change(good, inside, 499, 2), Error);
  CHECK_THROWS_AS(apply_change(good, inside, 500, 4), Error);
  for (int i = 0; i < 2000; ++i) {
    std::string bad = good;
    bad[static_cast<std::size_t>(rng.below(bad.size()))] ^= static_cast<char>(1 + rng.below(255));
    try {
      apply_change(bad, inside, 500, 2);
    } catch (const Error&) {
    }
  }
  CHECK(memory.front() == 7);
  CHECK(memory.back() == 7);
}

struct Stores {
  WeightStore a{test::tiny_config(), DType::kBF16}, b{test::tiny_config(), DType::kBF16};
  std::vector<TensorView> layout = a.snapshot(0).tensors;
  Stores() {
    init_random(a, 1, 0.1f);
    init_random(b, 1, 0.1f);
    const Parameter& p = b.parameters()[3];
    for (std::int64_t i = 0; i < p.elements; i += 7) reinterpret_cast<std::uint16_t*>(b.at(p))[i] ^= 1;
    for (TensorView& t : layout) t.data = nullptr;
  }
};

WeightReceiver::Header header_of(const WeightImage& image, bool delta) {
  WeightReceiver::Header h;
  h.key = image.key();
  h.check = image.check();
  h.tensors.assign(image.tensors().begin(), image.tensors().end());
  h.delta = delta;
  if (delta) h.base = image.delta()->base;
  return h;
}

std::vector<WeightChunk> chunks_of(const WeightImage& image, bool delta) {
  if (delta) return image.delta()->chunks;
  std::vector<WeightChunk> out;
  for (std::uint32_t t = 0; t < image.tensors().size(); ++t)
    for (std::uint64_t first = 0; first < static_cast<std::uint64_t>(image.tensors()[t].elements()); first += kChunkElements) out.push_back(image.whole_chunk(t, first));
  return out;
}

WeightSnapshot send(WeightReceiver& receiver, const WeightImage& image, bool delta) {
  receiver.begin(header_of(image, delta));
  std::vector<WeightChunk> chunks = chunks_of(image, delta);
  const auto n = static_cast<std::uint32_t>(chunks.size());
  for (WeightChunk& c : chunks) receiver.add(std::move(c));
  return receiver.finish(n);
}

struct Refusal {
  Kind kind = Kind::kOther;
  std::string text;
};
template <class F> Refusal refusal(F&& f) {
  try {
    f();
  } catch (const WeightUpdateError& e) {
    return {e.kind, e.what()};
  }
  return {};
}
TEST_CASE("whole weights and a delta arrive as they were, with the digest of the store") {
  Stores s;
  WeightReceiver receiver(s.layout);
  const WeightImage first(s.a.snapshot(4), nullptr);
  CHECK(first.key() == WeightKey{4, s.a.digest()});
  CHECK(first.delta() == nullptr);
  WeightStore copy(test::tiny_config(), DType::kBF16);
  const WeightSnapshot whole = send(receiver, first, false);
  CHECK(whole.version == 4);
  copy.load(whole);
  CHECK(copy.digest() == s.a.digest());

  const WeightImage second(s.b.snapshot(5), &first);
  REQUIRE(second.delta() != nullptr);
  CHECK(second.delta()->chunks.size() == 1);
  CHECK(second.delta()->changed == (s.b.parameters()[3].elements + 6) / 7);
  copy.load(send(receiver, second, true));
  CHECK(copy.digest() == s.b.digest());
  CHECK(*receiver.base() == WeightKey{5, s.b.digest()});

  const WeightImage third(s.b.snapshot(6), &second);  // nothing changed but the number
  REQUIRE(third.delta() != nullptr);
  CHECK(third.delta()->chunks.empty());
  CHECK(send(receiver, third, true).version == 6);
}

TEST_CASE("a delta from other weights is stale, by version or by content") {
  Stores s;
  const WeightImage first(s.a.snapshot(4), nullptr), second(s.b.snapshot(5), &first);
  WeightReceiver receiver(s.layout);
  Refusal r = refusal([&] { receiver.begin(header_of(second, true)); });
  CHECK(r.kind == Kind::kStale);
  CHECK(test::contains(r.text, "version 4"));
  send(receiver, WeightImage(s.b.snapshot(4), nullptr), false);  // the right number with other bits
  r = refusal([&] { receiver.begin(header_of(second, true)); });
  CHECK(r.kind == Kind::kStale);
  send(receiver, first, false);
  send(receiver, second, true);
  CHECK(refusal([&] { send(receiver, second, true); }).kind == Kind::kStale);  // twice
}

TEST_CASE("damaged, lost, doubled and missing chunks are named; afterwards whole weights are taken again") {
  Stores s;
  WeightReceiver receiver(s.layout);
  const WeightImage first(s.a.snapshot(4), nullptr), second(s.b.snapshot(5), &first);
  const std::string last = s.layout.back().name, some = s.layout[2].name;
  const auto broken = [&](bool delta, const std::function<void(std::vector<WeightChunk>&)>& edit, std::uint32_t more = 0) {
    return refusal([&] {
      receiver.begin(header_of(delta ? second : first, delta));
      std::vector<WeightChunk> chunks = chunks_of(delta ? second : first, delta);
      const auto n = static_cast<std::uint32_t>(chunks.size());
      edit(chunks);
      for (WeightChunk& c : chunks) receiver.add(std::move(c));
      receiver.finish(n + more);
    });
  };
  Refusal r = broken(false, [](auto& c) { c[2].data[5] ^= 1; });
  CHECK(r.kind == Kind::kLost);
  CHECK(test::contains(r.text, some));
  CHECK(test::contains(r.text, "damaged"));
  r = broken(false, [](auto& c) { c.erase(c.begin() + 2); });
  CHECK(r.kind == Kind::kLost);
  CHECK(test::contains(r.text, "expected tensor " + some));
  r = broken(false, [](auto& c) { c.insert(c.begin() + 2, c[1]); });
  CHECK(r.kind == Kind::kLost);
  r = broken(false, [](auto& c) { c.pop_back(); });
  CHECK(r.kind == Kind::kLost);
  CHECK(test::contains(r.text, last));
  r = broken(false, [](auto& c) { c[2].data[5] ^= 1, c[2].check = check_sum(c[2].data); });  // damaged before the check sum: the digest finds it
  CHECK(r.kind == Kind::kLost);
  CHECK(test::contains(r.text, "digest"));
  CHECK(receiver.base() == nullptr);
  r = broken(false, [](auto& c) { c[0].elements += 1; });
  CHECK(r.kind == Kind::kOther);
  r = broken(false, [](auto& c) { c[0].tensor = 999; });
  CHECK(r.kind == Kind::kOther);
  CHECK(broken(false, [](auto&) {}).text.empty());
  CHECK(broken(true, [](auto&) {}, 1).kind == Kind::kLost);
  CHECK(*receiver.base() == first.key());  // nothing of that delta was applied
  r = broken(true, [](auto& c) { c[0].data[6] ^= 1, c[0].check = check_sum(c[0].data); });
  CHECK_FALSE(r.text.empty());
  CHECK(receiver.base() == nullptr);
  send(receiver, first, false);
  CHECK(broken(true, [](auto&) {}).text.empty());
}

TEST_CASE("another architecture is refused by the first tensor and field that differ") {
  Stores s;
  WeightReceiver receiver(s.layout);
  const WeightImage image(s.a.snapshot(1), nullptr);
  const auto with = [&](const std::function<void(std::vector<TensorView>&)>& edit) {
    WeightReceiver::Header h = header_of(image, false);
    edit(h.tensors);
    const Refusal r = refusal([&] { receiver.begin(h); });
    CHECK(r.kind == Kind::kOther);
    return r.text;
  };
  std::string text = with([](auto& t) { t[2].shape = {3, 5}; });
  CHECK(test::contains(text, s.layout[2].name));
  CHECK(test::contains(text, "[3, 5]"));
  text = with([](auto& t) { t[1].dtype = DType::kF32; });
  CHECK(test::contains(text, "type is F32"));
  text = with([](auto& t) { t[4].name = "model.other"; });
  CHECK(test::contains(text, "model.other"));
  text = with([](auto& t) { t.pop_back(); });
  CHECK(test::contains(text, s.layout.back().name));
  text = with([&](auto& t) { t.push_back(t[0]); });
  CHECK(test::contains(text, "none of this server's model"));
}

}  // namespace
}  // namespace r1
