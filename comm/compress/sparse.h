// Sparse payloads: which elements of a group are kept, and messages that tell their indices and values.
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

/// The part of a message that tells which elements of a group are kept: i32 words that are their indices, or
/// a bitmap of the group where that is shorter (more than one element of 32 is kept). The form follows from
/// counts, so all ranks choose the same.
class IndexPart {
 public:
  /// `runs` with the largest `keep` that will be asked for.
  IndexPart(const CompressorContext& context, Runs runs);
  /// Keeps the runs' elements, or fewer of them from now on.
  void use(Runs runs);

  /// Words that tell `elements` of them, or those of the runs.
  [[nodiscard]] std::int64_t words(std::int64_t elements) const;
  [[nodiscard]] std::int64_t words() const { return words(count_); }
  /// The indices that were last written into `words` or read from them: those words, or an array that all
  /// words share.
  [[nodiscard]] FlatSpan indices(FlatSpan words) const;
  /// Enqueues: `words` tell the largest of `values`.
  void select(FlatSpan values, FlatSpan words, Stream& stream) const;
  /// Enqueues: indices(words) are those that `words` tell.
  void read(FlatSpan words, Stream& stream) const;

 private:
  [[nodiscard]] bool is_bitmap() const { return words() < count_; }

  std::int64_t bitmap_, count_;  ///< words of a bitmap of the group; elements that are kept
  Runs runs_;
  FlatArray indices_;  ///< for bitmaps
};

/// This rank's largest values and which they are, and everybody's.
class SparseMessage {
 public:
  /// `runs` with the largest `keep` that will be asked for.
  SparseMessage(const CompressorContext& context, std::vector<Selection> runs);

  [[nodiscard]] std::int64_t capacity() const noexcept { return capacity_; }
  /// Keeps the runs' largest values, or fewer of them from now on.
  void use(std::vector<Selection> runs);
  /// Enqueues: indices and values of the largest of `values`.
  void select(FlatSpan values, Stream& stream);
  /// Of this rank, until everybody's are added.
  [[nodiscard]] FlatSpan indices() const { return part_.indices(words_of(mine_.span)); }
  /// Collective, enqueues: everybody's message.
  void gather(Collectives& collectives, Stream& stream);
  /// sum = factor * the sum over ranks, in rank order, of what they sent.
  void add_all(FlatSpan sum, float factor, Stream& stream);
  [[nodiscard]] std::int64_t stated_bytes(std::int64_t elements) const;

 private:
  [[nodiscard]] FlatSpan words_of(FlatSpan message) const;
  [[nodiscard]] FlatSpan values_of(FlatSpan message) const;
  [[nodiscard]] std::int64_t length(std::int64_t elements) const { return part_.words(elements) + elements; }

  int rank_, ranks_;
  std::int64_t capacity_, count_;
  IndexPart part_;
  FlatArray mine_, all_;  ///< i32 words: the index part, then the bits of count values
};

}  // namespace lockstep::comm
