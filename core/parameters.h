// The flat arrays that hold a model: fp32 master values, gradients, low-precision working values and
// non-trained state (batch-norm statistics). A parameter is a named slot: a range of the arrays with a
// canonical shape and a storage order. Slots lie in the order in which backward completes their gradients
// (first completed first), 256-byte aligned, gaps zero, so a bucket is a contiguous range and optimizers,
// clipping and all-reduce are loops over one array.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/flat_span.h"
#include "core/memory.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/storage.h"

namespace lockstep {

/// What a model asks for.
struct SlotSpec {
  std::string name;              ///< PyTorch's name: "layer1.0.conv1.weight"
  Shape shape;                   ///< PyTorch's shape
  StorageOrderPtr storage = {};  ///< null: dense
  bool decays = true;            ///< false for biases and norm parameters: weight decay leaves them alone
};

/// A slot with its place: elements [offset, offset + stored_count) of the flat arrays.
struct Slot {
  std::string name;
  Shape shape;
  StorageOrderPtr storage;
  bool decays = true;
  std::int64_t offset = 0;
  std::int64_t stored_count = 0;
};

/// Slots laid out one after another; a pure value, the same on every rank.
class SlotLayout {
 public:
  SlotLayout() = default;
  /// Lays out `specs` in order. Throws Fault::internal on a repeated name.
  explicit SlotLayout(std::vector<SlotSpec> specs);

  [[nodiscard]] std::span<const Slot> slots() const noexcept { return slots_; }
  [[nodiscard]] const Slot* find(std::string_view name) const noexcept;
  /// Elements of a flat array, gaps included.
  [[nodiscard]] std::int64_t stored_count() const noexcept { return stored_count_; }
  /// Trainable numbers: the sum of canonical counts.
  [[nodiscard]] std::int64_t canonical_count() const noexcept;
  /// Slot indices sorted by name: the canonical order.
  [[nodiscard]] std::span<const int> canonical_order() const noexcept { return canonical_order_; }

 private:
  std::vector<Slot> slots_;
  std::vector<int> canonical_order_;
  std::int64_t stored_count_ = 0;
};

/// Elements between the starts of two slots are a multiple of this (256 bytes of fp32).
inline constexpr std::int64_t kSlotAlignment = 64;

/// The arrays of one replica on one device.
class ParameterStore {
 public:
  /// `gradient_memory` may lend the memory of the gradient array (at least stored_count elements of
  /// `gradient_dtype`); empty: own memory.
  ParameterStore(SlotLayout parameters, SlotLayout state, Device device, Memory gradient_memory = {},
                 Dtype gradient_dtype = Dtype::f32);

  /// The gradient array moves to `lent` memory (empty: own memory), as the constructor would place it; its
  /// values become zero. No stream may be using it.
  void move_gradients(Memory lent);

  [[nodiscard]] const SlotLayout& layout() const noexcept { return parameters_; }
  [[nodiscard]] const SlotLayout& state_layout() const noexcept { return state_; }
  [[nodiscard]] Device device() const noexcept { return device_; }
  [[nodiscard]] FlatSpan values() const noexcept { return values_.span; }
  [[nodiscard]] FlatSpan gradients() const noexcept { return gradients_; }
  [[nodiscard]] FlatSpan state() const noexcept { return state_values_.span; }

  /// Canonical host copies by name, for initialisation, import, export and tests. Blocking: the caller makes
  /// sure that no stream is using the arrays. Throws Fault::internal for an unknown name, Fault::checkpoint
  /// for a wrong size.
  [[nodiscard]] std::vector<float> read(std::string_view name) const;
  void write(std::string_view name, std::span<const float> canonical);

  /// 64-bit hash of the fp32 master values in canonical order (see hash.h). Blocking, as read().
  [[nodiscard]] std::uint64_t parameter_hash() const;
  /// The same over the non-trained state.
  [[nodiscard]] std::uint64_t state_hash() const;

  /// Values and state by name, canonical, under "values" and "state".
  void save(StateWriter& writer) const;
  void load(const StateReader& reader);  ///< a failed load leaves the slots before the refused one loaded

 private:
  SlotLayout parameters_;
  SlotLayout state_;
  Device device_;
  FlatArray values_;
  Memory gradient_memory_;
  FlatSpan gradients_;
  FlatArray state_values_;
};

/// One slot of any flat array laid out by `layout`, as canonical host elements, and back.
[[nodiscard]] std::vector<float> read_slot(const Slot& slot, FlatSpan array);
void write_slot(const Slot& slot, FlatSpan array, std::span<const float> canonical);

/// Saves and loads a whole flat array (a momentum, a residual) slot by slot in canonical form under `scope`.
void save_slots(StateWriter& writer, const SlotLayout& layout, FlatSpan array);
void load_slots(const StateReader& reader, const SlotLayout& layout, FlatSpan array);

/// Hash of a flat array in canonical order.
[[nodiscard]] std::uint64_t slot_hash(const SlotLayout& layout, FlatSpan array);

}  // namespace lockstep
