// Cuts text into the pieces within which GPT-2's byte-pair merges may happen: a contraction, a word, a number
// or a run of signs with the space before it, or white space.
#pragma once

#include <functional>
#include <string_view>

namespace lockstep::data {

/// Calls `visit` with one piece after another; together they are the text. A run of bytes that are not UTF-8
/// is a piece. Thread-safe. Throws Fault::data naming the position when a run is too long for PCRE2.
void each_piece(std::string_view text, const std::function<void(std::string_view)>& visit);

}  // namespace lockstep::data
