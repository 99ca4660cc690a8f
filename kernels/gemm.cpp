// Packed matrices and the split of products over threads.
#include <algorithm>

#include "core/error.h"
#include "kernels/cpu.h"
#include "kernels/scratch.h"
#include "kernels/table.h"

namespace r1::cpu {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::size_t packed_bytes(const Table& t, Type type, std::int64_t rows, std::int64_t depth) {
  const std::int64_t steps = type == Type::kBF16 ? ceil_div(ceil_div(depth, 2), t.step_multiple) * t.step_multiple : depth;
  return static_cast<std::size_t>(ceil_div(rows, t.panel_columns) * t.panel_columns * steps * 4);
}

void check_packed(const PackedMatrix& b) {
  R1_CHECK(!b.empty(), "a packed matrix without memory; make it with make_packed()");
  R1_CHECK(b.isa() == isa(), "the matrix was packed for ", to_string(b.isa()), " but ", to_string(isa()),
           " is in force; pack it again after set_isa()");
}

// Chunks of about this many nanoseconds: long beside a hand-over between threads, short beside a product.
constexpr double kChunkNs = 8000.0;

std::int64_t panels_per_chunk(const PackedMatrix& b, std::int64_t panels) {
  const double ns = static_cast<double>(b.bytes()) / static_cast<double>(std::max<std::int64_t>(panels, 1)) / 8.0;
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(kChunkNs / std::max(ns, 1.0)));
}

}  // namespace

std::int64_t padded_depth(std::int64_t depth) { return ceil_div(depth, 32) * 32; }

PackedMatrix make_packed(Type type, std::int64_t rows, std::int64_t depth) {
  PackedMatrix out;
  reshape(out, type, rows, depth);
  return out;
}

void reshape(PackedMatrix& out, Type type, std::int64_t rows, std::int64_t depth) {
  R1_CHECK(rows > 0 && depth > 0, "a packed matrix needs rows and depth, got ", rows, " x ", depth);
  out.rows_ = rows;
  out.depth_ = depth;
  out.type_ = type;
  out.isa_ = isa();
  out.bytes_ = packed_bytes(table(), type, rows, depth);
  if (out.bytes_ <= out.capacity_) return;
  out.data_.reset();
  out.data_ = allocate(out.bytes_);
  out.capacity_ = out.bytes_;
}

void pack(ComputePool& pool, const void* b, std::int64_t ld, PackedMatrix& out) {
  check_packed(out);
  R1_CHECK(ld >= out.depth_, "leading dimension ", ld, " is below the depth ", out.depth_);
  const Table& t = table();
  const PackCall call{static_cast<const std::byte*>(b), ld, out.rows_, out.depth_, out.type_, out.data_.get()};
  const std::int64_t panels = ceil_div(out.rows_, t.panel_columns);
  pool.parallel_for(panels, panels_per_chunk(out, panels), [&](std::int64_t begin, std::int64_t end) { t.pack(call, begin, end); });
}

void pack_transposed(ComputePool& pool, const void* b, std::int64_t ld, PackedMatrix& out) {
  check_packed(out);
  R1_CHECK(ld >= out.rows_, "leading dimension ", ld, " is below the rows ", out.rows_);
  const Table& t = table();
  const PackCall call{static_cast<const std::byte*>(b), ld, out.rows_, out.depth_, out.type_, out.data_.get()};
  const std::int64_t panels = ceil_div(out.rows_, t.panel_columns);
  pool.parallel_for(panels, panels_per_chunk(out, panels),
                    [&](std::int64_t begin, std::int64_t end) { t.pack_transposed(call, begin, end); });
}

void gemm(ComputePool& pool, const GemmArgs& args) {
  if (args.m <= 0) return;
  R1_CHECK(args.b != nullptr, "gemm without B");
  check_packed(*args.b);
  const PackedMatrix& b = *args.b;
  const Table& t = table();
  const std::int64_t k = args.k_count < 0 ? b.depth() - args.k_first : args.k_count;
  const std::int64_t n = args.n_count < 0 ? b.rows() - args.n_first : args.n_count;
  R1_CHECK(args.n_first >= 0 && args.n_first % 64 == 0 && n > 0 && args.n_first + n <= b.rows() && args.k_first >= 0 &&
               args.k_first % 32 == 0 && k > 0 && args.k_first + k <= b.depth() &&
               (k % 32 == 0 || args.k_first + k == b.depth()),
           "columns ", args.n_first, " + ", n, " and depth ", args.k_first, " + ", k, " of a matrix of ", b.rows(), " x ", b.depth());
  R1_CHECK(args.lda >= k && args.ldc >= n, "leading dimensions ", args.lda, ", ", args.ldc, " are below depth ", k, " or rows ", n);
  R1_CHECK(!args.a_padded || args.lda >= padded_depth(k), "leading dimension ", args.lda, " leaves no room for depth ", k,
           " padded to ", padded_depth(k));
  R1_CHECK(args.store == Store::kStore || args.out_type == Type::kF32, "Store::kAdd needs a float32 output");
  GemmCall call;
  call.a = static_cast<const std::byte*>(args.a);
  call.m = args.m;
  call.lda = args.lda;
  call.k = k;
  call.n = n;
  call.b_k = b.depth();
  call.k_first = args.k_first;
  call.b = static_cast<const std::byte*>(b.data()) +
           static_cast<std::size_t>(args.n_first / t.panel_columns) * packed_bytes(t, b.type(), t.panel_columns, b.depth());
  call.c = static_cast<std::byte*>(args.c);
  call.ldc = args.ldc;
  call.type = b.type();
  call.out_type = args.out_type;
  call.add = args.store == Store::kAdd;
  call.bias = static_cast<const std::byte*>(args.bias);
  call.a_padded = args.a_padded;

  // Work items: (columns, block of rows), rows inside, so that one thread reuses columns from its cache. Rows are cut only
  // where columns alone would leave a thread idle at the end.
  const std::int64_t columns = b.type() == Type::kBF16 ? t.bf16_columns : t.panel_columns;
  const std::int64_t items = ceil_div(call.n, columns);
  std::int64_t row_block = call.m;
  if (pool.size() > 1 && call.m >= 2 * t.row_cut && items < 16 * pool.size()) {
    const std::int64_t cuts = std::min(ceil_div(16 * pool.size(), items), call.m / t.row_cut);
    row_block = ceil_div(ceil_div(call.m, cuts), t.row_unit) * t.row_unit;
  }
  const std::int64_t row_blocks = ceil_div(call.m, row_block);
  const double flop_ns = 2.0 * static_cast<double>(call.k * columns * std::min(call.m, row_block)) / 100.0;
  const double byte_ns = static_cast<double>(packed_bytes(t, b.type(), t.panel_columns, k) * columns / t.panel_columns) / 20.0;
  const std::int64_t grain = std::max<std::int64_t>(1, static_cast<std::int64_t>(kChunkNs / std::max(flop_ns, byte_ns)));
  const std::size_t scratch_bytes = t.gemm_scratch(call.k, row_block);
  pool.parallel_for(items * row_blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    std::byte* scratch = thread_scratch(scratch_bytes);
    if (row_blocks == 1) {
      t.gemm(call, begin, end, 0, call.m, scratch);
      return;
    }
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t item = i / row_blocks, row = i % row_blocks * row_block;
      t.gemm(call, item, item + 1, row, std::min(call.m, row + row_block), scratch);
    }
  });
}

void transpose(ComputePool& pool, const void* in, std::int64_t rows, std::int64_t cols, std::int64_t ld, void* out, std::int64_t out_ld,
               Type type) {
  if (rows <= 0 || cols <= 0) return;
  R1_CHECK(ld >= cols && out_ld >= rows, "leading dimensions ", ld, ", ", out_ld, " for a transpose of ", rows, " x ", cols);
  const Table& t = table();
  pool.parallel_for(ceil_div(cols, 32), std::max<std::int64_t>(1, 512 / rows), [&](std::int64_t begin, std::int64_t end) {
    t.transpose(static_cast<const std::byte*>(in), rows, ld, static_cast<std::byte*>(out), out_ld, type, begin * 32,
                std::min(cols, end * 32));
  });
}

}  // namespace r1::cpu
