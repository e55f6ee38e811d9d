// Reading and writing UTF-8 code points (RFC 3629: no overlong forms, no surrogates).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lockstep::data {

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 0;  ///< 0: the text is not UTF-8 at this position
};

/// The code point that starts at text[position]; position < text.size().
[[nodiscard]] CodePoint code_point_at(std::string_view text, std::size_t position) noexcept;
/// Appends `value`, a valid code point.
void append_code_point(std::string& text, std::uint32_t value);

}  // namespace lockstep::data
