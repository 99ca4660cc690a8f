// What the pipelined engine needs of a device: it takes one step's rows, gives the drawn tokens later. The device keeps the
// last token of each slot, so that the next step can be launched before the host has read this one's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/types.h"
#include "core/weights.h"
#include "model/model_config.h"

namespace r1 {

// Host arrays of one step. Rows: first one row for each decoding sequence, then runs of consecutive positions (prefill,
// and samples computed again). A row sees the positions of its sequence up to its own, those of this step included.
struct DeviceStep {
  struct Run { std::int32_t row = 0, count = 0, position = 0, table = 0; };
  struct Draw {
    std::int32_t row = 0;        // its logits give the token
    std::int32_t slot = 0;       // remembers the token, or a valid one if the logits were not finite; -1: none does
    double uniform = 0.5;
    float temperature = 1.f;     // as SamplingOptions
    std::int32_t top_k = 0;
    float top_p = 1.f, min_p = 0.f;
  };
  std::vector<std::int32_t> tokens;     // [R]; -1 - slot: the token that the slot drew last
  std::vector<std::int32_t> positions;  // [R]
  std::int32_t decode_rows = 0;         // row i < decode_rows uses table i
  std::vector<Run> runs;                // of the other rows, in order
  std::vector<std::int32_t> tables;     // block numbers of all tables, one after another
  std::vector<std::int32_t> table_begin;  // [tables + 1]
  std::vector<Draw> draws;              // rows in ascending order; several may share a row
  std::vector<std::int32_t> copy_from, copy_to;  // blocks copied before the rows run

  void clear();
};

struct DeviceDraw {
  TokenId token = 0;             // -1: the logits were not finite
  float logprob = 0.f, entropy = 0.f;  // nats
};

// Not thread-safe. Steps run in the order of their launch; at most max_in_flight() are uncollected.
class StepDevice {
 public:
  virtual ~StepDevice() = default;
  virtual const ModelConfig& config() const = 0;
  virtual std::int32_t blocks() const = 0;
  virtual std::int32_t block_size() const = 0;      // positions of a block
  virtual std::int32_t max_decode_rows() const = 0;
  virtual std::int32_t max_prefill_rows() const = 0;  // in one step
  virtual std::int32_t slots() const = 0;           // at least max_decode_rows()
  virtual int max_in_flight() const = 0;            // at least 1
  virtual std::int64_t vocab_limit() const = 0;     // ids below it are sampled
  virtual void set_vocab_limit(std::int64_t limit) = 0;
  // Changes when something else used the blocks' memory: what they held is lost. Nothing may be in flight then.
  virtual std::uint64_t memory_epoch() const { return 0; }
  virtual void launch(const DeviceStep& step) = 0;  // if it throws, the step is not in flight
  // Waits for the oldest uncollected step; its draws in order. Throws DeviceError for a fault of the device; the step counts as
  // collected then too.
  virtual std::span<const DeviceDraw> collect() = 0;
  // Experts that one position meets, all layers together (Transformer::expert_choices); 0 for a dense model.
  virtual std::int64_t expert_choices() const { return 0; }
  // Those of a position of a block, as the steps collected so far left them: out [expert_choices()].
  virtual void read_experts(std::int32_t block, std::int32_t position, std::uint16_t* out) const { (void)block, (void)position, (void)out; }
  // Between steps, nothing in flight.
  virtual void load_weights(const WeightSnapshot& snapshot) = 0;  // a snapshot of the live weights copies nothing
  virtual WeightDigest digest() const = 0;
};

}  // namespace r1
