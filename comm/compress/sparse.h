// Sparse payloads: which elements of a group are kept, and messages of values with indices.
#pragma once

#include <memory>
#include <vector>

#include "comm/compress/compressor.h"
#include "comm/movement.h"

namespace lockstep::comm {

/// Per slot: the part `density` of its elements, at least one.
[[nodiscard]] std::vector<Selection> selections(const Group& group, double density);
/// Every element, in runs of at most `length` that end with their slot.
[[nodiscard]] std::vector<Selection> blocks(const Group& group, std::int64_t length);
[[nodiscard]] std::int64_t kept(const std::vector<Selection>& runs);

/// This rank's largest values with their indices, and everybody's. 8 bytes an element.
class SparseMessage {
 public:
  /// `runs` with the largest `keep` that will be asked for.
  SparseMessage(const CompressorContext& context, std::vector<Selection> runs);

  [[nodiscard]] std::int64_t capacity() const noexcept { return capacity_; }
  /// Keeps the runs' largest values, or fewer of them from now on.
  void use(std::vector<Selection> runs);
  /// Enqueues: indices and values of the largest of `values`.
  void select(FlatSpan values, Stream& stream);
  [[nodiscard]] FlatSpan indices() const { return indices_of(mine_.span); }
  /// Collective, enqueues: everybody's message.
  void gather(Collectives& collectives, Stream& stream);
  /// sum = factor * the sum over ranks, in rank order, of what they sent.
  void add_all(FlatSpan sum, float factor, Stream& stream);
  [[nodiscard]] std::int64_t stated_bytes(std::int64_t elements) const;

 private:
  [[nodiscard]] FlatSpan indices_of(FlatSpan message) const;
  [[nodiscard]] FlatSpan values_of(FlatSpan message) const;

  int rank_, ranks_;
  std::int64_t capacity_, count_;
  Runs runs_;
  FlatArray mine_, all_;  ///< i32 words: count indices, then the bits of count values
};

}  // namespace lockstep::comm
