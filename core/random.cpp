#include "core/random.h"

#include <cmath>
#include <numbers>

#include "core/cpu_dispatch.h"

namespace lockstep {
namespace {

constexpr std::uint32_t kMultiplier0 = 0xd2511f53u;  ///< the four constants of Philox4x32, from the paper
constexpr std::uint32_t kMultiplier1 = 0xcd9e8d57u;
constexpr std::uint32_t kWeyl0 = 0x9e3779b9u;
constexpr std::uint32_t kWeyl1 = 0xbb67ae85u;
constexpr int kRounds = 10;

/// Block numbers at and above these belong to normal() and below(), so that they never reuse the words of
/// bits().
constexpr std::uint64_t kNormalSpace = 1ULL << 63;
constexpr std::uint64_t kBelowSpace = 1ULL << 62;

constexpr std::uint32_t low(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word); }
constexpr std::uint32_t high(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word >> 32); }

/// The finaliser of SplitMix64: neighbouring seeds get unrelated keys.
constexpr std::uint64_t scramble(std::uint64_t z) noexcept {
  z += 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// The upper 64 bits of a 128-bit product, from 32-bit halves.
constexpr std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) noexcept {
  const std::uint64_t mid =
      static_cast<std::uint64_t>(high(a)) * low(b) + high(static_cast<std::uint64_t>(low(a)) * low(b));
  const std::uint64_t cross = static_cast<std::uint64_t>(low(a)) * high(b) + low(mid);
  return static_cast<std::uint64_t>(high(a)) * high(b) + high(mid) + high(cross);
}

/// Blocks that are computed side by side, word by word, so that the compiler makes vector code of the rounds.
constexpr std::size_t kSideBySide = 64;

LOCKSTEP_HOT_LOOP void philox_side_by_side(std::uint64_t first, std::array<std::uint32_t, 2> high_words,
                                           std::array<std::uint32_t, 2> key,
                                           std::array<std::uint32_t, 4>* out) noexcept {
  std::uint32_t word0[kSideBySide], word1[kSideBySide], word2[kSideBySide], word3[kSideBySide];
  for (std::size_t i = 0; i < kSideBySide; ++i) {
    word0[i] = static_cast<std::uint32_t>(first + i);
    word1[i] = static_cast<std::uint32_t>((first + i) >> 32);
    word2[i] = high_words[0];
    word3[i] = high_words[1];
  }
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < kSideBySide; ++i) {
      const std::uint64_t product0 = static_cast<std::uint64_t>(kMultiplier0) * word0[i];
      const std::uint64_t product1 = static_cast<std::uint64_t>(kMultiplier1) * word2[i];
      word0[i] = static_cast<std::uint32_t>(product1 >> 32) ^ word1[i] ^ key[0];
      word2[i] = static_cast<std::uint32_t>(product0 >> 32) ^ word3[i] ^ key[1];
      word1[i] = static_cast<std::uint32_t>(product1);
      word3[i] = static_cast<std::uint32_t>(product0);
    }
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  for (std::size_t i = 0; i < kSideBySide; ++i) out[i] = {word0[i], word1[i], word2[i], word3[i]};
}

}  // namespace

// In words of their own: a sanitizer looks at each access to an array.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) noexcept {
  std::uint32_t word0 = counter[0], word1 = counter[1], word2 = counter[2], word3 = counter[3];
  std::uint32_t key0 = key[0], key1 = key[1];
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = static_cast<std::uint64_t>(kMultiplier0) * word0;
    const std::uint64_t product1 = static_cast<std::uint64_t>(kMultiplier1) * word2;
    word0 = high(product1) ^ word1 ^ key0;
    word1 = low(product1);
    word2 = high(product0) ^ word3 ^ key1;
    word3 = low(product0);
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return {word0, word1, word2, word3};
}

// Seed and purpose make the key, the index is the upper half of the counter, the block its lower half.
RandomSource::RandomSource(std::uint64_t seed, std::string_view purpose, std::uint64_t index) noexcept {
  const std::uint64_t key = scramble(scramble(seed) ^ name_hash(purpose));
  key_ = {low(key), high(key)};
  high_ = {low(index), high(index)};
}

std::array<std::uint32_t, 4> RandomSource::block(std::uint64_t block) const noexcept {
  return philox({low(block), high(block), high_[0], high_[1]}, key_);
}

void RandomSource::blocks(std::uint64_t first, std::span<std::array<std::uint32_t, 4>> out) const noexcept {
  std::size_t done = 0;
  for (; done + kSideBySide <= out.size(); done += kSideBySide)
    philox_side_by_side(first + done, high_, key_, out.data() + done);
  for (; done < out.size(); ++done) out[done] = block(first + done);
}

std::uint32_t RandomSource::bits(std::uint64_t draw) const noexcept { return block(draw / 4)[draw % 4]; }

float RandomSource::uniform(std::uint64_t draw) const noexcept {
  return static_cast<float>(bits(draw) >> 8) * 0x1p-24F;
}

float RandomSource::normal(std::uint64_t draw) const noexcept {
  const auto words = block(kNormalSpace | draw / 2);
  const std::size_t first = draw % 2 * 2;
  const double radius_uniform = (static_cast<double>(words[first]) + 1.0) * 0x1p-32;  // in (0, 1]
  const double angle = static_cast<double>(words[first + 1]) * 0x1p-32 * 2.0 * std::numbers::pi;
  return static_cast<float>(std::sqrt(-2.0 * std::log(radius_uniform)) * std::cos(angle));
}

std::uint64_t RandomSource::below(std::uint64_t draw, std::uint64_t bound) const noexcept {
  const auto words = block(kBelowSpace | draw / 2);
  const std::size_t first = draw % 2 * 2;
  return multiply_high(static_cast<std::uint64_t>(words[first]) << 32 | words[first + 1], bound);
}

}  // namespace lockstep
