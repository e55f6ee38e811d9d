// Sizes in whole units.
#pragma once

#include <concepts>

namespace lockstep {

/// The smallest multiple of `unit` that is not less than `size`; neither is negative.
template <std::integral T>
[[nodiscard]] constexpr T round_up(T size, T unit) noexcept {
  return (size + unit - 1) / unit * unit;
}

}  // namespace lockstep
