// Counter-based random numbers: every value is a function of (seed, purpose, index), never of a stream
// position, so that any rank can produce the value of any sample. Philox4x32-10 (Salmon et al., "Parallel
// Random Numbers: As Easy as 1, 2, 3", SC 2011).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace lockstep {

/// Ten rounds of Philox4x32: 128 random bits for a 128-bit counter and a 64-bit key.
[[nodiscard]] std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key) noexcept;

/// 64-bit FNV-1a: names purposes and slots.
[[nodiscard]] constexpr std::uint64_t name_hash(std::string_view name) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

/// The random values that belong to one (seed, purpose, index); `draw` counts values within it.
class RandomSource {
 public:
  RandomSource(std::uint64_t seed, std::string_view purpose, std::uint64_t index) noexcept;

  [[nodiscard]] std::uint32_t bits(std::uint64_t draw) const noexcept;
  /// Uniform in [0, 1) with 24 bits.
  [[nodiscard]] float uniform(std::uint64_t draw) const noexcept;
  /// Standard normal (Box-Muller in double on words 2*draw and 2*draw + 1 of a separate counter space).
  [[nodiscard]] float normal(std::uint64_t draw) const noexcept;
  /// Uniform integer in [0, bound), bound > 0, from 64 bits of a third counter space: bias at most bound *
  /// 2^-64.
  [[nodiscard]] std::uint64_t below(std::uint64_t draw, std::uint64_t bound) const noexcept;
  /// Four words of block `block`: the fast way to fill arrays; bits(d) == block(d / 4)[d % 4]. Blocks
  /// (and draws / 4) stay below 2^62.
  [[nodiscard]] std::array<std::uint32_t, 4> block(std::uint64_t block) const noexcept;
  /// out[i] = block(first + i): several times faster for many.
  void blocks(std::uint64_t first, std::span<std::array<std::uint32_t, 4>> out) const noexcept;
  /// Of Philox: for code that makes the same words elsewhere. The index does not enter it: block b of index i
  /// is philox({low(b), high(b), low(i), high(i)}, key()).
  [[nodiscard]] std::array<std::uint32_t, 2> key() const noexcept { return key_; }

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 2> high_;
};

}  // namespace lockstep
