// What GPU kernels need to know of a layout, and norms by slot.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "core/memory.h"
#include "core/parameters.h"
#include "trainer/optim/rules.h"

namespace lockstep::trainer::cuda {

/// Elements of one tile belong to one slot; a block works on a tile.
struct Tile {
  std::int64_t first = 0;
  std::int32_t count = 0;  ///< a multiple of 4: gaps are zero
  std::int32_t slot = 0;
};
inline constexpr std::int64_t kTileElements = 8192;

/// A slot's tiles [first_tile, first_tile + tiles).
struct SlotTiles {
  std::int32_t first_tile = 0, tiles = 0;
  std::int32_t decays = 0;
};

/// Two sums of squares: of a tile, or of a slot.
struct Squares {
  double first = 0, second = 0;
};

/// The layout on the device.
class SlotTables {
 public:
  SlotTables(const SlotLayout& layout, Device device);

  /// For every kSlotAlignment elements: 2 * slot + (1 when it decays).
  [[nodiscard]] const std::int32_t* codes() const { return at<std::int32_t>(codes_); }
  [[nodiscard]] const Tile* tiles() const { return at<Tile>(tiles_); }
  [[nodiscard]] int tile_count() const noexcept { return tile_count_; }
  [[nodiscard]] const SlotTiles* slots() const { return at<SlotTiles>(slots_); }
  [[nodiscard]] int slot_count() const noexcept { return slot_count_; }
  /// One entry per tile: room for what a kernel sums.
  [[nodiscard]] Squares* partial() const { return at<Squares>(partial_); }
  /// One entry per slot.
  [[nodiscard]] float* ratios() const { return at<float>(ratios_); }

 private:
  template <class T>
  [[nodiscard]] static T* at(const Memory& memory) {
    return static_cast<T*>(memory.data());
  }
  Memory codes_, tiles_, slots_, partial_, ratios_;
  int tile_count_ = 0, slot_count_ = 0;
};

/// partial[tile] = squares of values and of gradients.
void tile_norms(const SlotTables& tables, const float* values, FlatSpan gradients, const StepScalars* scalars,
                cudaStream_t stream);
/// ratios[slot] from the partial sums of its tiles, added in order.
void lars_ratios(const SlotTables& tables, const LarsRule& rule, const StepScalars* scalars,
                 cudaStream_t stream);
void lamb_ratios(const SlotTables& tables, const StepScalars* scalars, cudaStream_t stream);

}  // namespace lockstep::trainer::cuda
