// Sums of ranks that reach each other's memory: ranks of one node over MPI shared windows, ranks as threads.
// Ranks meet at counters in that memory; in between everyone adds up its chunk, reading all arrays and
// writing all results. Nothing is sent; what a rank reads of others or writes for them is what the one- and
// two-shot plans send.
//
//  one shot    copy my array to my stage | meet | add all stages into my array
//  in place    (arrays in shared memory)   meet | add chunk `me` of all arrays, write it to all | meet
//  staged      piece by piece: copy what others own to my stage | meet | add my chunk, write it to my array
//  and
//              my stage | meet | copy what others own to my array
//
// Stages are double-buffered by the parity of the meeting: a rank writes one again only after it met everyone
// once more, and so everyone is done reading it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "comm/transport/shared_counter.h"
#include "comm/transport/shared_sum.h"
#include "core/flat_span.h"

namespace lockstep::comm {

/// What one rank shows the others; at the head of its stage, zero at first.
struct SharedControl {
  /// In one cache line: who has waited for the counter finds the rest with it.
  struct alignas(64) Arrival {
    SharedCounter meetings;  ///< this rank has come to with its operand ready
    /// What it sums in the meeting it came to last, by parity: all must sum the same.
    struct Call {
      std::int64_t bytes = 0;
      std::int64_t place = 0;  ///< block and offset of the array; -1: staged
    } calls[2];
  } arrived;
  alignas(64) SharedCounter done;  ///< meetings whose results it has written
};

class SharedExchange {
 public:
  /// Bytes of the stage that each rank shares: the control and two pieces.
  [[nodiscard]] static std::size_t stage_bytes() noexcept;
  /// The longest array in bytes for one_shot().
  [[nodiscard]] static std::size_t piece_bytes() noexcept;
  /// Ranks that have not come at the moment it is called.
  using Missing = std::function<std::vector<int>()>;
  /// Throws when waiting for the missing ranks is no use (any more): asked now and then while a meeting
  /// waits. They may come while it looks, and end: ask who is missing once it is known who has ended.
  using Impatience = std::function<void(const Missing& missing)>;

  /// `stages`: by rank. `crowded`: more ranks than processors, so a waiting rank gives way at once.
  SharedExchange(int me, const std::vector<std::byte*>& stages, bool crowded);

  /// From now on arrays inside these blocks (by rank, of `bytes`) are summed in place.
  void add_blocks(std::vector<std::byte*> blocks, std::size_t bytes);

  /// data = sum over ranks in the balanced tree over ranks. Blocks until all ranks came and all results are
  /// written. Throws Fault::internal when ranks sum different things.
  void one_shot(FlatSpan data, const Impatience& impatience);
  void two_shot(FlatSpan data, const Impatience& impatience);

 private:
  struct Blocks {
    std::vector<std::byte*> first;
    std::size_t bytes = 0;
  };
  [[nodiscard]] int size() const noexcept { return static_cast<int>(controls_.size()); }
  [[nodiscard]] SharedControl& control(int rank) const noexcept {
    return *controls_[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] std::byte* stage(int rank) const noexcept;  // of this meeting
  [[nodiscard]] std::int64_t place_of(const FlatSpan& data) const noexcept;

  void arrive(const FlatSpan& data, std::int64_t place, const Impatience& impatience);
  void finish(const Impatience& impatience);
  /// Of one of a rank's counters.
  using Counter = SharedCounter& (*)(SharedControl&);
  void wait(Counter counter, const Impatience& impatience) const;
  [[nodiscard]] std::vector<int> missing(Counter counter) const;
  void require_same_call() const;
  void in_place(FlatSpan data, std::int64_t place, const Impatience& impatience);
  void staged(FlatSpan piece, const Impatience& impatience);

  int me_;
  bool crowded_;
  std::vector<SharedControl*> controls_;
  std::vector<std::byte*> stages_;
  std::vector<Blocks> blocks_;
  std::uint64_t meeting_ = 0;
  BalancedSum adder_;
  std::vector<FlatSpan> operands_;
  std::vector<FlatSpan> results_;
};

}  // namespace lockstep::comm
