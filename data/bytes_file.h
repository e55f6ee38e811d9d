// Whole files as bytes, unpacked when they are gzip or xz (told by their first bytes, not their names).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::data {

/// Throws Fault::data naming the file: missing, unreadable, or damaged compression.
[[nodiscard]] std::vector<std::byte> read_bytes(const std::string& path);
/// The same as text.
[[nodiscard]] std::string read_text(const std::string& path);

}  // namespace lockstep::data
