// Sums gradients over ranks while backward still runs. The flat gradient array is cut into buckets (runs of
// whole slots in completion order); as soon as backward has completed a bucket's last slot, its sum starts on
// the communication stream. Nothing is packed or unpacked. Li et al., "PyTorch Distributed", VLDB 2020, for
// the bucket rule (a small first bucket, so that communication starts early).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/allreduce/schedule.h"
#include "comm/collectives.h"
#include "core/parameters.h"
#include "core/stream.h"

namespace lockstep::comm {

/// A run of whole slots: slots [first_slot, last_slot) and their elements of the flat array.
struct Bucket {
  int index = 0;
  int first_slot = 0;
  int last_slot = 0;
  Range range;
};

/// Cuts `layout` into buckets of at most `bucket_bytes` of fp32 (a larger slot is a bucket of its own); the
/// first takes at most `first_bucket_bytes`.
[[nodiscard]] std::vector<Bucket> cut_buckets(const SlotLayout& layout, std::int64_t bucket_bytes,
                                              std::int64_t first_bucket_bytes);

/// What one exchange did; read after the step's streams have passed.
struct ExchangeReport {
  std::int64_t wire_bytes = 0;  ///< sent by this rank
  std::int64_t messages = 0;
  double communication_s = 0;  ///< time the communication stream worked
};

class GradientExchange {
 public:
  virtual ~GradientExchange() = default;
  [[nodiscard]] virtual std::span<const Bucket> buckets() const noexcept = 0;
  /// Starts a step over `gradients` (f32, laid out by the layout).
  virtual void begin(FlatSpan gradients) = 0;
  /// Slots [0, slots) of the array are complete once `ready` is. Starts every bucket that became whole.
  /// Enqueues.
  virtual void complete(int slots, const Event& ready) = 0;
  /// Makes `compute` wait for all sums: afterwards the array holds sums over ranks.
  virtual void finish(Stream& compute) = 0;
  /// The stream communication runs on.
  [[nodiscard]] virtual Stream& stream() noexcept = 0;
  [[nodiscard]] virtual ExchangeReport report() const = 0;
};

struct ExchangeOptions {
  std::int64_t bucket_bytes = 25 << 20;
  std::int64_t first_bucket_bytes = 1 << 20;
};

/// Collective. `collectives` must outlive it and be used by nobody else.
[[nodiscard]] std::unique_ptr<GradientExchange> make_exchange(const SlotLayout& layout,
                                                              Collectives& collectives,
                                                              const ExchangeOptions& options);

/// Sums microbatch gradients of a rank by the balanced binary tree over the microbatch index (a binary
/// counter of partial sums), so that together with a halving-doubling exchange the whole sum is one fixed
/// tree over the global index (DESIGN: reproducible mode). With A microbatches it holds log2(A) + 1 arrays.
///
///   tree.target(j)      the array that backward of microbatch j must overwrite (the last one is the gradient
///   array itself) tree.complete(j, slots, ready)  carries the completed slots up; for the last microbatch
///   this is what the exchange waits for
class TreeAccumulator {
 public:
  virtual ~TreeAccumulator() = default;
  [[nodiscard]] virtual FlatSpan target(int microbatch) = 0;
  /// Elements [0, complete) of target(microbatch) are written, in stream order; merges carries. Enqueues.
  virtual void complete(int microbatch, std::int64_t elements, Stream& compute) = 0;
  [[nodiscard]] virtual int arrays() const noexcept = 0;
};

/// `gradients` becomes the array that holds this rank's sum after the last of `microbatches`.
[[nodiscard]] std::unique_ptr<TreeAccumulator> make_tree_accumulator(FlatSpan gradients, int microbatches);

}  // namespace lockstep::comm
