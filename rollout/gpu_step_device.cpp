#include "rollout/gpu_step_device.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/error.h"

namespace r1 {
namespace {

static_assert(sizeof(gpu::Drawn) == sizeof(DeviceDraw));

// Places of a decoding step's arrays, for `rows` rows at most; items and tables follow, as many as there are.
struct DecodePlaces {
  std::size_t count, tokens, positions, dst, draws, items, tables, end;
  DecodePlaces(std::int64_t rows, std::int64_t items_capacity, std::int64_t tables_capacity) {
    std::size_t at = 0;
    const auto take = [&](std::int64_t n, std::size_t size) {
      const std::size_t place = at;
      at += (static_cast<std::size_t>(n) * size + 255) / 256 * 256;
      return place;
    };
    count = take(1, 4);
    tokens = take(rows, 4), positions = take(rows, 4), dst = take(rows, 4);
    draws = take(rows, sizeof(gpu::Draw));
    items = take(items_capacity, sizeof(gpu::DecodeItem));
    tables = take(tables_capacity, 4);
    end = at;
  }
};

}  // namespace

struct GpuStepDevice::Inputs {
  std::int32_t rows = 0, decode_rows = 0;
  const std::int32_t *count = nullptr, *tokens = nullptr, *positions = nullptr, *dst = nullptr, *tables = nullptr, *logit_rows = nullptr;
  const gpu::DecodeItem* items = nullptr;
  const gpu::PrefillItem* prefill = nullptr;
  std::int64_t prefill_items = 0;
  const gpu::Draw* draws = nullptr;
  std::int32_t logit_count = 0, draw_count = 0;
  bool filtered = false;
};

struct GpuStepDevice::Graph {
  cudaGraphExec_t exec = nullptr;
  Graph() = default;
  Graph(const Graph&) = delete;
  ~Graph() {
    if (exec != nullptr) cudaGraphExecDestroy(exec);
  }
};

GpuStepDevice::GpuStepDevice(GpuTransformer& model, GpuRegion& region, const GpuStepOptions& options)
    : model_(model), config_(model.config()), region_(region), options_(options) {
  config_.max_position_embeddings = model_.shape().context;
  const std::size_t bytes = region.bytes;
  options_.max_logit_rows = std::max(options_.max_logit_rows, options_.max_decode_rows);
  const GpuShape& s = model_.shape();
  const std::int64_t rows = options_.max_decode_rows + options_.max_prefill_rows;
  const std::int64_t page = page_bytes();
  const auto fixed = [&](GpuBump& bump, std::int64_t slots) {
    h_ = bump.take<float>(rows * s.d);
    buffers_.x = bump.take<gpu::bf16>(rows * s.d);
    buffers_.qkv = bump.take<gpu::bf16>(rows * s.qkv_width);
    buffers_.attn = bump.take<gpu::bf16>(rows * s.attn_width);
    buffers_.latent = latent_take(bump, model_.config(), rows);
    buffers_.gate_up = bump.take<gpu::bf16>(rows * 2 * s.f);
    buffers_.act = bump.take<gpu::bf16>(rows * s.f);
    if (s.post_norms) buffers_.added = bump.take<float>(rows * s.d);
    buffers_.experts.take(bump, model_.config(), rows);
    logits_ = bump.take<float>(options_.max_logit_rows * s.ld_v);
    x_head_ = bump.take<gpu::bf16>(options_.max_logit_rows * s.d);
    partials_ = reinterpret_cast<float*>(bump.take<std::byte>(static_cast<std::int64_t>(s.partial_bytes(slots))));
  };
  // Each row of several chunks has a partial result a chunk: at most as many as the pages can hold, and one a row.
  const auto slots_for = [&](std::int64_t pages) { return pages / gpu::kChunkBlocks + 2 * options_.max_decode_rows; };
  GpuBump empty;
  fixed(empty, slots_for(0));
  const std::int64_t slot_bytes = static_cast<std::int64_t>(s.partial_bytes(1));
  const std::int64_t room = static_cast<std::int64_t>(bytes) - static_cast<std::int64_t>(empty.used()) - (1 << 20);
  std::int64_t pages = room / (page + slot_bytes / gpu::kChunkBlocks + 1);
  if (options_.max_kv_bytes > 0) pages = std::min(pages, options_.max_kv_bytes / page + 1);  // the first is nobody's
  if (pages < 2)
    throw ConfigError(message("the GPU memory for rollouts, ", bytes, " bytes, does not hold a step's activations (", empty.used(),
                              ") and two KV pages of ", page, "; lower rollout.prefill_tokens_per_step or rollout.max_rows"));
  pages_ = static_cast<std::int32_t>(std::min<std::int64_t>(pages, std::int64_t{1} << 24));
  max_slots_ = slots_for(pages_);
  GpuBump bump(region.data, bytes);
  fixed(bump, max_slots_);
  layer_elements_ = static_cast<std::int64_t>(pages_) * s.page_elements();
  kv_ = bump.take<gpu::bf16>(layer_elements_ * s.layers);

  multiprocessors_ = gpu::device_info().multiprocessors;
  counters_ = gpu::DeviceMemory(static_cast<std::size_t>(rows * s.counters_per_row()) * 4);
  gpu::fill_bytes(model_.stream(), counters_.data(), 0, counters_.bytes());
  last_token_ = gpu::DeviceMemory(static_cast<std::size_t>(options_.max_decode_rows) * 4);
  gpu::fill_bytes(model_.stream(), last_token_.data(), 0, last_token_.bytes());
  std::vector<std::int32_t> identity(static_cast<std::size_t>(rows));
  std::iota(identity.begin(), identity.end(), 0);
  identity_ = gpu::DeviceMemory(identity.size() * 4);
  gpu::copy_to_device(model_.stream(), identity_.data(), identity.data(), identity.size() * 4);
  ensure_draws(std::max(4096, options_.max_decode_rows));
  const std::int64_t table_capacity = static_cast<std::int64_t>(pages_) + 4 * options_.max_decode_rows;
  inputs_fixed_ = DecodePlaces(options_.max_decode_rows, max_slots_ + options_.max_decode_rows, table_capacity).end;
  inputs_ = gpu::DeviceMemory(inputs_fixed_);
  if (s.choices > 0) {
    const auto bytes = static_cast<std::size_t>(rows * s.choices) * sizeof(std::uint16_t);
    choices_ = gpu::DeviceMemory(bytes);
    buffers_.record = choices_.as<std::uint16_t>();
    for (InFlight& f : flights_) f.experts = gpu::PinnedMemory(bytes);
    experts_.reset(new std::uint16_t[static_cast<std::size_t>(std::int64_t{pages_} * gpu::kPage * s.choices)]);
  }
  model_.synchronize();
}

GpuStepDevice::~GpuStepDevice() { cudaStreamSynchronize(model_.stream()); }

std::int64_t GpuStepDevice::page_bytes() const { return model_.shape().page_elements() * 2 * model_.shape().layers; }

void GpuStepDevice::set_vocab_limit(std::int64_t limit) {
  model_.set_vocab_limit(limit);
  graphs_.clear();
}

void GpuStepDevice::load_weights(const WeightSnapshot& snapshot) {
  R1_CHECK(in_flight_ == 0, "weights cannot change while ", in_flight_, " steps are in flight");
  model_.weights().load(snapshot);
}

void GpuStepDevice::ensure_draws(std::int64_t n) {
  const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(gpu::Drawn);
  if (bytes <= drawn_.bytes()) return;
  R1_CHECK(in_flight_ == 0 || drawn_.bytes() == 0, "the buffer of draws cannot grow while steps are in flight");
  graphs_.clear();  // they hold its address
  drawn_ = gpu::DeviceMemory(bytes);
  for (InFlight& f : flights_) f.output = gpu::PinnedMemory(bytes);
}

void GpuStepDevice::ensure_input(InFlight& flight, std::size_t bytes) {
  if (bytes > flight.input.bytes()) flight.input = gpu::PinnedMemory(bytes + bytes / 2);
}

std::int32_t GpuStepDevice::bucket(std::int32_t rows) const {
  const auto up = [&](std::int32_t to) { return (rows + to - 1) / to * to; };
  const std::int32_t b = rows <= 2 ? rows : rows <= 4 ? 4 : rows <= 64 ? up(8) : rows <= 256 ? up(16) : rows <= 512 ? up(32) : up(64);
  return std::min(b, options_.max_decode_rows);
}

std::int32_t GpuStepDevice::page_of(const DeviceStep& step, std::int32_t table, std::int32_t position) const {
  const std::int32_t at = step.table_begin[static_cast<std::size_t>(table)] + position / static_cast<std::int32_t>(gpu::kPage);
  R1_CHECK(at < step.table_begin[static_cast<std::size_t>(table) + 1], "position ", position, " beyond the blocks of table ", table);
  return step.tables[static_cast<std::size_t>(at)] + 1;  // page 0 is where rows that only fill a bucket write
}

void GpuStepDevice::build_items(const DeviceStep& step, std::vector<std::int32_t>& dst) {
  const auto rows = static_cast<std::size_t>(step.decode_rows);
  constexpr auto kPage = static_cast<std::int32_t>(gpu::kPage);
  const std::int32_t slots = gpu::decode_items(std::span(step.positions).first(rows), std::span(step.table_begin).first(rows), model_.shape().counters_per_row(), multiprocessors_, items_);
  for (std::int32_t i = 0; i < step.decode_rows; ++i) {
    const std::int32_t position = step.positions[static_cast<std::size_t>(i)];
    dst.push_back(page_of(step, i, position) * kPage + position % kPage);
  }
  R1_CHECK(slots <= max_slots_, slots, " partial results of at most ", max_slots_);
}

bool GpuStepDevice::decode_only(const DeviceStep& step) const {
  if (!options_.graphs || !step.runs.empty() || !step.copy_from.empty() || step.decode_rows == 0) return false;
  if (step.draws.size() != static_cast<std::size_t>(step.decode_rows)) return false;
  for (std::size_t i = 0; i < step.draws.size(); ++i) {
    const DeviceStep::Draw& d = step.draws[i];
    if (d.row != static_cast<std::int32_t>(i) || d.top_k > 0 || d.top_p < 1.f || d.min_p > 0.f) return false;
  }
  return true;
}

void GpuStepDevice::launch(const DeviceStep& step) {
  R1_CHECK(in_flight_ < kInFlight, "already ", in_flight_, " steps in flight");
  R1_CHECK(!step.tokens.empty() && step.tokens.size() == step.positions.size(), "a step of ", step.tokens.size(), " tokens");
  model_.ensure_rope(*std::max_element(step.positions.begin(), step.positions.end()) + 1);
  InFlight& flight = flights_[static_cast<std::size_t>((first_ + in_flight_) % static_cast<int>(flights_.size()))];
  flight.places.clear(), flight.copy_from.clear(), flight.copy_to.clear();
  if (decode_only(step)) launch_decode(step, flight);
  else launch_mixed(step, flight);
  flight.draws = static_cast<std::int64_t>(step.draws.size());
  if (flight.draws > 0)
    gpu::copy_to_host(model_.stream(), flight.output.data(), drawn_.data(), static_cast<std::size_t>(flight.draws) * sizeof(gpu::Drawn));
  if (experts_)
    gpu::copy_to_host(model_.stream(), flight.experts.data(), choices_.data(), flight.places.size() * static_cast<std::size_t>(model_.shape().choices) * sizeof(std::uint16_t));
  flight.done.record(model_.stream());
  ++in_flight_;
}

std::span<const DeviceDraw> GpuStepDevice::collect() {
  R1_CHECK(in_flight_ > 0, "no step in flight");
  InFlight& flight = flights_[static_cast<std::size_t>(first_)];
  first_ = (first_ + 1) % static_cast<int>(flights_.size());
  --in_flight_;
  flight.done.synchronize();
  if (experts_) keep_experts(flight);
  results_.resize(static_cast<std::size_t>(flight.draws));
  if (flight.draws > 0) std::memcpy(results_.data(), flight.output.data(), results_.size() * sizeof(DeviceDraw));
  return results_;
}

void GpuStepDevice::keep_experts(const InFlight& flight) {
  const auto choices = static_cast<std::size_t>(model_.shape().choices), page = choices * gpu::kPage;
  for (std::size_t i = 0; i < flight.copy_from.size(); ++i)
    std::copy_n(experts_.get() + static_cast<std::size_t>(flight.copy_from[i]) * page, page, experts_.get() + static_cast<std::size_t>(flight.copy_to[i]) * page);
  for (std::size_t i = 0; i < flight.places.size(); ++i)
    std::copy_n(flight.experts.as<std::uint16_t>() + i * choices, choices, experts_.get() + static_cast<std::size_t>(flight.places[i]) * choices);
}

void GpuStepDevice::read_experts(std::int32_t block, std::int32_t position, std::uint16_t* out) const {
  const std::int64_t choices = model_.shape().choices;
  std::copy_n(experts_.get() + ((std::int64_t{block} + 1) * gpu::kPage + position % gpu::kPage) * choices, choices, out);
}

void GpuStepDevice::launch_decode(const DeviceStep& step, InFlight& flight) {
  const std::int32_t rows = step.decode_rows, padded = bucket(rows);
  const std::int64_t table_capacity = static_cast<std::int64_t>(pages_) + 4 * options_.max_decode_rows;
  const DecodePlaces places(options_.max_decode_rows, max_slots_ + options_.max_decode_rows, table_capacity);
  std::vector<std::int32_t> dst;
  dst.reserve(static_cast<std::size_t>(padded));
  build_items(step, dst);
  if (experts_) flight.places = dst;
  const std::size_t tables = step.table_begin[static_cast<std::size_t>(rows)];
  R1_CHECK(static_cast<std::int64_t>(tables) < table_capacity, tables, " entries of block tables, at most ", table_capacity);
  ensure_input(flight, inputs_fixed_);
  std::byte* host = flight.input.data();
  const auto put = [&](std::size_t place, const auto& v) { std::memcpy(host + place, v.data(), v.size() * sizeof(v[0])); };
  draws_.clear();
  for (const DeviceStep::Draw& d : step.draws) draws_.push_back({d.row, d.slot, d.temperature, d.top_k, d.top_p, d.min_p, d.uniform});
  // Rows that fill the bucket: token 0 at position 0 of page 0, drawn into nothing; no attention is computed for them.
  for (std::int32_t i = rows; i < padded; ++i) {
    gpu::Draw d;
    d.row = i, d.slot = -1;
    draws_.push_back(d);
    dst.push_back(i % static_cast<std::int32_t>(gpu::kPage));
  }
  const auto count = static_cast<std::int32_t>(items_.size());
  std::memcpy(host + places.count, &count, 4);
  put(places.tokens, step.tokens), put(places.positions, step.positions), put(places.dst, dst), put(places.draws, draws_);
  std::memset(host + places.tokens + static_cast<std::size_t>(rows) * 4, 0, static_cast<std::size_t>(padded - rows) * 4);
  std::memset(host + places.positions + static_cast<std::size_t>(rows) * 4, 0, static_cast<std::size_t>(padded - rows) * 4);
  put(places.items, items_);
  auto* pages = reinterpret_cast<std::int32_t*>(host + places.tables);
  for (std::size_t i = 0; i < tables; ++i) pages[i] = step.tables[i] + 1;
  const gpu::Stream stream = model_.stream();
  std::byte* device = inputs_.data();
  gpu::copy_to_device(stream, device, host, places.items + items_.size() * sizeof(gpu::DecodeItem));
  gpu::copy_to_device(stream, device + places.tables, host + places.tables, tables * 4);

  Inputs in;
  in.rows = in.decode_rows = in.logit_count = in.draw_count = padded;
  const auto at = [&](std::size_t place, auto& pointer) { pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(device + place); };
  at(places.count, in.count), at(places.tokens, in.tokens), at(places.positions, in.positions), at(places.dst, in.dst);
  at(places.draws, in.draws), at(places.items, in.items), at(places.tables, in.tables);
  const auto [it, is_new] = graphs_.try_emplace(padded);
  Graph& graph = it->second;
  if (graph.exec != nullptr) {
    gpu::check(cudaGraphLaunch(graph.exec, stream), "launching a decoding step");
    return;
  }
  run_rows(in);
  sample(in);
  if (is_new) return;  // the first time warms up: modules and plans are loaded outside of a capture
  cudaGraph_t captured = nullptr;
  gpu::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  run_rows(in);
  sample(in);
  gpu::check(cudaStreamEndCapture(stream, &captured), "cudaStreamEndCapture");
  const cudaError_t made = cudaGraphInstantiate(&graph.exec, captured, 0);
  cudaGraphDestroy(captured);
  gpu::check(made, "cudaGraphInstantiate");
}

void GpuStepDevice::launch_mixed(const DeviceStep& step, InFlight& flight) {
  constexpr auto kPage = static_cast<std::int32_t>(gpu::kPage);
  const auto rows = static_cast<std::int32_t>(step.tokens.size());
  R1_CHECK(rows <= options_.max_decode_rows + options_.max_prefill_rows, "a step of ", rows, " rows, at most ",
           options_.max_decode_rows + options_.max_prefill_rows);
  ensure_draws(static_cast<std::int64_t>(step.draws.size()));
  std::vector<std::int32_t> dst;
  dst.reserve(static_cast<std::size_t>(rows));
  build_items(step, dst);
  std::vector<gpu::PrefillItem> prefill;
  for (const DeviceStep::Run& run : step.runs) {
    for (std::int32_t i = 0; i < run.count; ++i)
      dst.push_back(page_of(step, run.table, run.position + i) * kPage + (run.position + i) % kPage);
    for (std::int32_t i = 0; i < run.count; i += kPage)
      prefill.push_back({run.row + i, std::min(kPage, run.count - i), run.position + i, step.table_begin[static_cast<std::size_t>(run.table)]});
  }
  R1_CHECK(static_cast<std::int32_t>(dst.size()) == rows, dst.size(), " rows in decoding and runs, ", rows, " tokens");
  if (experts_) flight.places = dst;
  std::stable_sort(prefill.begin(), prefill.end(), [](const auto& a, const auto& b) { return a.position > b.position; });
  std::vector<std::int32_t> logit_rows, pages(step.tables.size()), copy_from, copy_to;
  draws_.clear();
  bool filtered = false;
  for (const DeviceStep::Draw& d : step.draws) {
    if (logit_rows.empty() || logit_rows.back() != d.row) {
      R1_CHECK(logit_rows.empty() || logit_rows.back() < d.row, "draws are not in the order of their rows");
      logit_rows.push_back(d.row);
    }
    draws_.push_back({static_cast<std::int32_t>(logit_rows.size()) - 1, d.slot, d.temperature, d.top_k, d.top_p, d.min_p, d.uniform});
    filtered = filtered || d.top_k > 0 || d.top_p < 1.f || d.min_p > 0.f;
  }
  for (std::size_t i = 0; i < pages.size(); ++i) pages[i] = step.tables[i] + 1;
  for (const std::int32_t p : step.copy_from) copy_from.push_back(p + 1);
  for (const std::int32_t p : step.copy_to) copy_to.push_back(p + 1);
  if (experts_) flight.copy_from = copy_from, flight.copy_to = copy_to;
  const std::vector<std::int32_t> count = {static_cast<std::int32_t>(items_.size())};

  std::size_t used = 0;
  const auto place = [&](const auto& v) {
    const std::size_t at = used;
    used += (v.size() * sizeof(v[0]) + 255) / 256 * 256;
    return at;
  };
  const std::size_t places[] = {place(count), place(step.tokens), place(step.positions), place(dst), place(items_), place(prefill),
                                place(pages), place(logit_rows), place(draws_), place(copy_from), place(copy_to)};
  ensure_input(flight, used);
  if (used > inputs_.bytes()) {
    model_.synchronize();  // earlier steps read the smaller one
    graphs_.clear();
    inputs_ = gpu::DeviceMemory(used + used / 2);
  }
  std::size_t next = 0;
  std::byte* device = inputs_.data();
  const auto put = [&](const auto& v, auto& pointer) {
    const std::size_t at = places[next++];
    if (!v.empty()) std::memcpy(flight.input.data() + at, v.data(), v.size() * sizeof(v[0]));
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(device + at);
  };
  Inputs in;
  const std::int32_t *from = nullptr, *to = nullptr;
  put(count, in.count), put(step.tokens, in.tokens), put(step.positions, in.positions), put(dst, in.dst), put(items_, in.items);
  put(prefill, in.prefill), put(pages, in.tables), put(logit_rows, in.logit_rows), put(draws_, in.draws), put(copy_from, from), put(copy_to, to);
  in.rows = rows, in.decode_rows = step.decode_rows, in.prefill_items = static_cast<std::int64_t>(prefill.size());
  in.logit_count = static_cast<std::int32_t>(logit_rows.size()), in.draw_count = static_cast<std::int32_t>(draws_.size());
  in.filtered = filtered;
  const gpu::Stream stream = model_.stream();
  gpu::copy_to_device(stream, device, flight.input.data(), used);
  const std::int64_t page_part = model_.shape().page_elements() * 2;
  // Copies are done in order: a page may be copied on. Each is a launch of its own only where it reads what another wrote.
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= copy_from.size(); ++i) {
    const bool depends = i < copy_from.size() && std::find(copy_to.begin() + static_cast<std::ptrdiff_t>(begin), copy_to.begin() + static_cast<std::ptrdiff_t>(i),
                                                          copy_from[i]) != copy_to.begin() + static_cast<std::ptrdiff_t>(i);
    if (i < copy_from.size() && !depends) continue;
    if (i > begin)
      gpu::copy_pages(stream, reinterpret_cast<std::byte*>(kv_), page_part, page_part, layer_elements_ * 2, model_.shape().layers, from + begin, to + begin,
                      static_cast<std::int64_t>(i - begin));
    begin = i;
  }
  run_rows(in);
  sample(in);
}

void GpuStepDevice::run_rows(const Inputs& in) {
  const GpuShape& s = model_.shape();
  const gpu::Stream stream = model_.stream();
  gpu::embed(stream, model_.embed(), in.tokens, last_token_.as<std::int32_t>(), in.rows, s.d, h_);
  GpuAttentionWork work;
  work.kv_src = identity_.as<std::int32_t>(), work.kv_dst = in.dst, work.kv_rows = in.rows, work.tables = in.tables;
  work.decode = in.items, work.decode_count = in.count, work.decode_rows = in.decode_rows;
  work.partials = partials_, work.counters = counters_.as<std::int32_t>(), work.grid = s.decode_grid(in.decode_rows);
  work.prefill = in.prefill, work.prefill_items = in.prefill_items;
  for (std::int64_t l = 0; l < s.layers; ++l) {
    work.pages = kv_ + l * layer_elements_;
    model_.attention(l, in.rows, h_, in.positions, work, buffers_);
    model_.after_attention(l, in.rows, h_, h_, h_, buffers_);
  }
}

void GpuStepDevice::sample(const Inputs& in) {
  const GpuShape& s = model_.shape();
  const gpu::Stream stream = model_.stream();
  auto* drawn = drawn_.as<gpu::Drawn>();
  if (in.logit_rows == nullptr) {  // each row has its draw
    gpu::rms_norm(stream, h_, nullptr, in.rows, s.d, model_.final_norm(), s.eps, x_head_, nullptr);
    model_.logits(x_head_, in.rows, logits_);
    gpu::sample_rows(stream, logits_, s.ld_v, model_.vocab_limit(), in.draws, in.rows, in.filtered, drawn, last_token_.as<std::int32_t>());
    return;
  }
  std::size_t draw = 0;
  for (std::int32_t i = 0; i < in.logit_count; i += options_.max_logit_rows) {
    const std::int32_t n = std::min(options_.max_logit_rows, in.logit_count - i);
    gpu::rms_norm(stream, h_, in.logit_rows + i, n, s.d, model_.final_norm(), s.eps, x_head_, nullptr);
    model_.logits(x_head_, n, logits_);
    const std::size_t first = draw;
    while (draw < draws_.size() && draws_[draw].row < i + n) ++draw;
    // Draws count their rows from the first of all.
    gpu::sample_rows(stream, logits_ - static_cast<std::int64_t>(i) * s.ld_v, s.ld_v, model_.vocab_limit(), in.draws + first,
                     static_cast<std::int64_t>(draw - first), in.filtered, drawn + first, last_token_.as<std::int32_t>());
  }
}

}  // namespace r1
