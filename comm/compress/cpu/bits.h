// Bitmaps of what is kept, and its indices. Which elements are kept is noise, which no processor foresees: so
// nothing here branches on single bits.
#pragma once

#include <cstdint>

namespace lockstep::comm {

/// Writes the indices of the bits that are set in `count` words, ascending, the first bit's being `first`,
/// but none at or beyond `end`. Returns the place behind the last one; what lies behind it, before `end`, may
/// have been overwritten.
std::int32_t* write_indices(const std::uint32_t* words, std::int64_t count, std::int32_t first,
                            std::int32_t* out, const std::int32_t* end);

}  // namespace lockstep::comm
