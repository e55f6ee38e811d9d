// Sets of indices as bitmaps, and back.
#include <array>
#include <bit>

#include "comm/compress/cpu/bits.h"
#include "comm/compress/cpu/cpu_kernels.h"
#include "core/cpu_dispatch.h"

namespace lockstep::comm {
namespace {

// Neighbours fall into one word, where each waits for the one before: four places at a time wait for a
// quarter.
constexpr std::int64_t kStretches = 4;

void set_bits(const std::int32_t* indices, std::int64_t count, std::uint32_t* words) {
  const auto set = [=](std::int64_t j) {
    const auto index = static_cast<std::uint32_t>(indices[j]);
    words[index / 32] |= 1u << index % 32;
  };
  const std::int64_t stretch = count / kStretches;
  for (std::int64_t j = 0; j < stretch; ++j) {
    for (std::int64_t s = 0; s < kStretches; ++s) set(s * stretch + j);
  }
  for (std::int64_t j = kStretches * stretch; j < count; ++j) set(j);
}

/// The places of the bits that are set in each byte, ascending; zeros behind them.
using Places = std::array<std::int32_t, 8>;
constexpr auto kPlaces = [] {
  std::array<Places, 256> all{};
  for (std::size_t byte = 0; byte < all.size(); ++byte) {
    std::size_t found = 0;
    for (std::int32_t bit = 0; bit < 8; ++bit) {
      if ((byte >> bit & 1) != 0) all[byte][found++] = bit;
    }
  }
  return all;
}();

using Eight [[gnu::vector_size(32)]] = std::int32_t;
static_assert(sizeof(Eight) == sizeof(Places));

/// The indices of a word's bits, whose first is `first`; not beyond `end`.
std::int32_t* write_some(std::uint32_t word, std::int32_t first, std::int32_t* out, const std::int32_t* end) {
  for (; word != 0 && out < end; word &= word - 1) *out++ = first + std::countr_zero(word);
  return out;
}

}  // namespace

/// A byte writes eight indices, and the next one overwrites what is too much.
LOCKSTEP_HOT_LOOP std::int32_t* write_indices(const std::uint32_t* words, std::int64_t count,
                                              std::int32_t first, std::int32_t* out,
                                              const std::int32_t* end) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::int32_t index = first + static_cast<std::int32_t>(32 * i);
    if (end - out < 32) {
      out = write_some(words[i], index, out, end);
      continue;
    }
    for (int shift = 0; shift < 32; shift += 8, index += 8) {
      const std::uint32_t byte = words[i] >> shift & 0xffu;
      Eight indices;
      std::memcpy(&indices, kPlaces[byte].data(), sizeof(indices));
      indices += index;
      std::memcpy(out, &indices, sizeof(indices));
      out += std::popcount(byte);
    }
  }
  return out;
}

void cpu_to_bitmap(FlatSpan indices, FlatSpan words, Stream& stream) {
  stream.host([=] {
    if (words.count > 0) std::memset(words.data, 0, words.bytes());
    set_bits(indices.as<std::int32_t>().data(), indices.count, static_cast<std::uint32_t*>(words.data));
  });
}

void cpu_from_bitmap(FlatSpan words, Runs /*runs*/, FlatSpan indices, Stream& stream) {
  stream.host([=] {
    std::int32_t* out = indices.as<std::int32_t>().data();
    write_indices(static_cast<const std::uint32_t*>(words.data), words.count, 0, out, out + indices.count);
  });
}

}  // namespace lockstep::comm
