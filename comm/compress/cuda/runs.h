// Runs of the packed array in the memory of a GPU, made when a list is first used there.
#pragma once

#include "comm/compress/kernels.h"
#include "core/memory.h"

namespace lockstep::comm::gpu {

/// A part of a run that one block of threads works on, for selections.
struct Tile {
  std::int64_t first = 0;  ///< in the packed array
  std::int32_t count = 0;
  std::int32_t run = 0;
};
inline constexpr std::int64_t kTileElements = 4096;

/// What a selection knows of a run.
struct RunState {
  std::uint32_t threshold = 0;  ///< the upper bits of the last magnitude to keep, as far as they are known
  std::uint32_t equal = 0;      ///< how many values with these bits are kept
};
inline constexpr int kBins = 1 << 11;

class RunNotes final : public RunList::Notes {
 public:
  RunNotes(const RunList& runs, Device device);

  [[nodiscard]] const Selection* table() const noexcept {
    return static_cast<const Selection*>(table_.data());
  }
  // Room for selections; made at the first one.
  void prepare_selection(const RunList& runs);
  [[nodiscard]] int tiles() const noexcept { return tile_count_; }
  [[nodiscard]] const Tile* tile_table() const noexcept { return static_cast<const Tile*>(tiles_.data()); }
  /// By tile: values above the threshold in the upper half, equal ones in the lower; then such sums over the
  /// tiles before it in its run.
  [[nodiscard]] std::uint64_t* tile_counts() const noexcept {
    return static_cast<std::uint64_t*>(counts_.data());
  }
  /// By run, one more than there are: its first tile.
  [[nodiscard]] const std::int32_t* first_tiles() const noexcept {
    return static_cast<const std::int32_t*>(first_tiles_.data());
  }
  /// By run: where its indices begin.
  [[nodiscard]] const std::int64_t* outputs() const noexcept {
    return static_cast<const std::int64_t*>(outputs_.data());
  }
  [[nodiscard]] RunState* states() const noexcept { return static_cast<RunState*>(states_.data()); }
  /// kBins counters a run.
  [[nodiscard]] std::uint32_t* histograms() const noexcept {
    return static_cast<std::uint32_t*>(histograms_.data());
  }
  [[nodiscard]] std::size_t histogram_bytes() const noexcept { return histograms_.bytes(); }

 private:
  Device device_;
  int tile_count_ = 0;
  Memory table_, tiles_, counts_, first_tiles_, outputs_, states_, histograms_;
};

/// The notes of `runs`. Blocks when they are made: at the first call.
[[nodiscard]] RunNotes& notes_of(const RunList& runs, Device device);

}  // namespace lockstep::comm::gpu
