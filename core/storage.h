// How an array of canonical (row-major) elements is really stored. A backend may keep weights or activations
// in an order its kernels like (oneDNN's blocked formats, cuDNN's KRSC), possibly with zero padding.
// Everything that leaves the process (hash, checkpoint, export) is canonical.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace lockstep {

/// A bijection between canonical elements and their places in storage; places without an element hold zero.
class StorageOrder {
 public:
  virtual ~StorageOrder() = default;
  /// Elements in storage, padding included; at least the canonical count.
  [[nodiscard]] virtual std::int64_t stored_count() const noexcept = 0;
  /// Copies canonical elements to storage (padding becomes zero). Sizes are the two counts.
  virtual void to_storage(std::span<const float> canonical, std::span<float> stored) const = 0;
  virtual void to_canonical(std::span<const float> stored, std::span<float> canonical) const = 0;
  /// Equal names mean equal orders for equal shapes: "dense", "onednn:Acdb8a".
  [[nodiscard]] virtual std::string name() const = 0;
};

/// Null means dense canonical order.
using StorageOrderPtr = std::shared_ptr<const StorageOrder>;

}  // namespace lockstep
