// Compression of a whole exchange: which slots are sent by which compressor, bucket by bucket. Slots of one
// dimension or few elements are summed exactly, and so are slots that a rule names so.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/compress/compressor.h"
#include "comm/compress/options.h"
#include "comm/exchange.h"
#include "core/parameters.h"

namespace lockstep::comm {

class Compression {
 public:
  /// `collectives` must outlive it.
  Compression(const SlotLayout& layout, std::span<const Bucket> buckets, Collectives& collectives,
              const ExchangeOptions& options);

  /// Enqueues the start of a step.
  void begin(const StepNumbers& numbers, Stream& stream);
  /// Collective, enqueues: the bucket of `gradients` becomes a sum over ranks. False: the bucket has nothing
  /// to compress in this step, and nothing was enqueued.
  bool exchange(const Bucket& bucket, FlatSpan gradients, Stream& stream);
  /// Enqueues: keeps what the step did to the state when *skip (i32) is 0.
  void settle(const std::int32_t* skip, Stream& stream);
  /// One i64 on the device: elements of this step that were not finite on this rank.
  [[nodiscard]] FlatSpan nonfinite() const noexcept { return nonfinite_.span; }
  /// Reports of the buckets of `step` so far; read in stream order.
  [[nodiscard]] std::vector<BucketReport> reports(std::int64_t step) const;
  /// Tells, in stream order, when the compute stream began to wait and which buckets made it.
  void waited_from(double began_s);
  [[nodiscard]] std::int64_t exact_steps() const noexcept { return exact_steps_; }
  [[nodiscard]] MomentumKind momentum() const noexcept { return momentum_; }
  /// Whether steps may be recorded and run again; and whether this holds for `step`.
  [[nodiscard]] bool plain() const noexcept;
  [[nodiscard]] bool plain_in(std::int64_t step) const noexcept;
  /// Bytes this rank sends for a bucket; nothing when it has nothing to compress.
  [[nodiscard]] std::optional<std::int64_t> stated_bytes(const Bucket& bucket, const Schedule& schedule,
                                                         std::int64_t step) const;

  void save(StateWriter& writer) const;
  /// False when the state was written by another number of ranks or other groups: then nothing was loaded.
  [[nodiscard]] bool load(const StateReader& reader);
  /// Adds what one rank of another run kept (see Compressor::carry); call for each of its ranks in order.
  void carry(const StateReader& reader);

 private:
  struct Entry;
  [[nodiscard]] bool starts_exactly(std::int64_t step) const noexcept;
  [[nodiscard]] bool is_exact(std::int64_t step) const noexcept;
  [[nodiscard]] bool samples(std::int64_t step) const noexcept;
  void add_group(Entry& entry, const Bucket& bucket, const std::string& name,
                 const std::vector<const Slot*>& slots, Device device);
  void give_momentum(Entry& entry, Stream& stream);
  void find_momentum();
  void find_start();
  void finish_report(Entry& entry) const;
  void sum_exact(Entry& entry, int bucket, FlatSpan gradients, Stream& stream);
  static void judge_sample(Entry& entry, FlatSpan gradients, Stream& stream);
  template <class Visit>
  static void exact_pieces(const Entry& entry, Visit&& visit);
  static void load_momentum(Entry& entry, const StateReader& reader);
  [[nodiscard]] std::string signature() const;

  SlotLayout layout_;
  Collectives& collectives_;
  CompressionOptions options_;
  StepNumbers numbers_;  ///< of the step that is being enqueued: what runs in stream order has its own
  MomentumKind momentum_ = MomentumKind::none;
  std::int64_t exact_steps_ = 0;
  Remembered::Verdict verdict_;
  FlatArray nonfinite_, scratch_;
  std::vector<std::shared_ptr<Entry>> entries_;  ///< by bucket
};

}  // namespace lockstep::comm
