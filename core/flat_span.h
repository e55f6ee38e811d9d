// A span that knows its element type and where it lives. Views only: it never owns.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/device.h"
#include "core/dtype.h"

namespace lockstep {

struct FlatSpan {
  void* data = nullptr;
  std::int64_t count = 0;
  Dtype dtype = Dtype::f32;
  Device device = {};

  [[nodiscard]] std::size_t bytes() const noexcept {
    return static_cast<std::size_t>(count) * size_of(dtype);
  }
  [[nodiscard]] std::byte* at(std::int64_t first) const noexcept {
    return static_cast<std::byte*>(data) + static_cast<std::size_t>(first) * size_of(dtype);
  }
  /// Elements [first, first + length).
  [[nodiscard]] FlatSpan part(std::int64_t first, std::int64_t length) const noexcept {
    assert(first >= 0 && length >= 0 && first + length <= count);
    return {at(first), length, dtype, device};
  }
  /// Host elements; T must be the element type.
  template <class T>
  [[nodiscard]] std::span<T> as() const noexcept {
    assert(dtype == dtype_of<T> && device.kind == DeviceKind::cpu);
    return {static_cast<T*>(data), static_cast<std::size_t>(count)};
  }
};

/// A view of host elements.
template <class T>
[[nodiscard]] FlatSpan flat(std::span<T> elements) noexcept {
  return {elements.data(), static_cast<std::int64_t>(elements.size()), dtype_of<T>, Device{}};
}

}  // namespace lockstep
