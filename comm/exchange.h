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
#include "comm/compress/options.h"
#include "core/parameters.h"
#include "core/state.h"
#include "core/stream.h"

namespace lockstep {
class Trace;
}

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

/// What one exchange did.
struct ExchangeReport {
  std::int64_t wire_bytes = 0;  ///< sent by this rank
  std::int64_t messages = 0;
  double communication_s = 0;            ///< time the communication stream worked
  std::vector<BucketReport> compressed;  ///< buckets with something compressed
};

class GradientExchange {
 public:
  virtual ~GradientExchange() = default;
  [[nodiscard]] virtual std::span<const Bucket> buckets() const noexcept = 0;
  /// Starts a step over `gradients` (laid out by the layout; f32 where anything is compressed, else also a
  /// half precision). Compression needs the step's numbers.
  virtual void begin(FlatSpan gradients, const StepNumbers& numbers = {}) = 0;
  /// Slots [0, slots) of the array are complete once `ready` is. Starts every bucket that became whole. Calls
  /// come with growing counts. Enqueues.
  virtual void complete(int slots, const Event& ready) = 0;
  /// Makes `compute` wait for all sums but the last bucket's; returns where that begins in the array, 0 where
  /// there is but one. May be left out; finish() must follow.
  virtual std::int64_t finish_first(Stream& compute) = 0;
  /// Makes `compute` wait for all sums: afterwards the array holds sums over ranks (approximate ones where
  /// they were compressed). All slots must have been completed.
  virtual void finish(Stream& compute) = 0;
  /// One i64 on the device: gradients of this step on this rank that were not finite and so were not sent.
  /// Read it on stream(). Zero, or no element, where nothing is compressed.
  [[nodiscard]] virtual FlatSpan nonfinite() const noexcept = 0;
  /// Enqueues on `compute`, behind finish(): what compression remembers takes the step in when *skip is 0,
  /// and forgets it otherwise. Must come before the next step's first complete().
  virtual void settle(const std::int32_t* skip, Stream& compute) = 0;
  /// What compression remembers, different on every rank. Blocking; no stream may be using the exchange.
  virtual void save(StateWriter& writer) const = 0;
  /// False when it was saved by another number of ranks, other buckets or other compressors: carry() it.
  [[nodiscard]] virtual bool load(const StateReader& reader) = 0;
  /// Adds what one rank of another run remembered: after all of its ranks, in order, every rank holds their
  /// mean residual.
  virtual void carry(const StateReader& reader) = 0;
  /// Bytes this rank sends in step `step`, by formula.
  [[nodiscard]] virtual std::int64_t stated_bytes(const Schedule& schedule, std::int64_t step) const = 0;
  /// How many first steps are summed exactly before anything is compressed.
  [[nodiscard]] virtual std::int64_t exact_steps() const noexcept = 0;
  /// The momentum that compressors make: the optimizer must not make it again.
  [[nodiscard]] virtual MomentumKind momentum() const noexcept = 0;
  /// Whether what a step enqueues may be recorded and run in other steps too; and whether this holds for
  /// `step`.
  [[nodiscard]] virtual bool recordable() const noexcept = 0;
  [[nodiscard]] virtual bool recordable_in(std::int64_t step) const noexcept = 0;
  /// Tells that a step ran from a recording: report() forgets what a sampled step saw.
  virtual void replayed() = 0;
  /// Tells `trace` from the next begin() on when buckets were summed; null: nobody.
  virtual void tell(Trace* trace) noexcept = 0;
  /// The stream communication runs on.
  [[nodiscard]] virtual Stream& stream() noexcept = 0;
  /// Of the last step whose finish() the communication stream has passed. Any thread.
  [[nodiscard]] virtual ExchangeReport report() const = 0;
};

struct ExchangeOptions {
  std::int64_t bucket_bytes = 25 << 20;
  std::int64_t first_bucket_bytes = 1 << 20;
  Device device = {};  ///< where the gradients live: the communication stream's device
  CompressionOptions compression;
};

/// Collective. `collectives` must outlive it and be used by nobody else (another user takes a duplicate()).
[[nodiscard]] std::unique_ptr<GradientExchange> make_exchange(const SlotLayout& layout,
                                                              Collectives& collectives,
                                                              const ExchangeOptions& options);

/// Sums microbatch gradients of a rank by the balanced binary tree over the microbatch index (left part
/// ceil(n/2), right part floor(n/2) leaves), so that on a power-of-two number of ranks with equally many
/// microbatches a halving-doubling exchange completes one fixed tree over the global index (see
/// docs/architecture.md). With A microbatches it holds at most ceil(log2 A) + 1 arrays, the gradient array
/// included.
///
/// Backward of microbatch j overwrites target(j), for the last one the gradient array itself. complete(j, n,
/// stream) carries elements [0, n) up the tree; during the last microbatch what has been carried is this
/// rank's sum, so record an event and hand it to the exchange.
///
/// Microbatches come in order 0, 1, ..., once each per step; the same object serves every step.
class TreeAccumulator {
 public:
  virtual ~TreeAccumulator() = default;
  [[nodiscard]] virtual FlatSpan target(int microbatch) = 0;
  /// Elements [0, elements) of target(microbatch) are written, in stream order; adds what is waiting for
  /// them. May be called with growing `elements`; before the next microbatch it must have been called with
  /// the whole count. Enqueues.
  virtual void complete(int microbatch, std::int64_t elements, Stream& compute) = 0;
  [[nodiscard]] virtual int arrays() const noexcept = 0;
};

/// How many arrays one over `microbatches` holds.
[[nodiscard]] int tree_arrays(int microbatches);

/// `gradients` becomes the array that holds this rank's sum after the last of `microbatches`.
[[nodiscard]] std::unique_ptr<TreeAccumulator> make_tree_accumulator(FlatSpan gradients, int microbatches);

}  // namespace lockstep::comm
