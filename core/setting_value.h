// The typed values of settings: reading them from YAML text and checking them against what the table
// declares. Private to core's config files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"

namespace lockstep {

/// Origin of a value that nobody gave; a resolved config says so in a comment, and reading it back finds that
/// comment.
inline constexpr const char* kDefaultOrigin = "default";

/// Each reads YAML text of that type; nothing when the text is of another type.
[[nodiscard]] std::optional<bool> read_boolean(std::string_view text);
[[nodiscard]] std::optional<std::int64_t> read_integer(std::string_view text);
[[nodiscard]] std::optional<double> read_real(std::string_view text);
[[nodiscard]] std::optional<std::string> read_text(std::string_view text);
[[nodiscard]] std::optional<std::vector<std::int64_t>> read_integers(std::string_view text);
[[nodiscard]] std::optional<std::vector<double>> read_reals(std::string_view text);
[[nodiscard]] std::optional<std::vector<std::string>> read_texts(std::string_view text);

/// Throws Fault::config, naming `full_key` and the origin, when `given` has the wrong type or is not among
/// the choices.
void check_value(const Setting& setting, const Given& given, const std::string& full_key);

/// YAML text of the fallback ("" becomes empty text or an empty list). The setting must have one.
[[nodiscard]] std::string fallback_text(const Setting& setting);

/// Equal values of a type have equal canonical texts: "0.10" and "1e-1" agree.
[[nodiscard]] std::string canonical_text(SettingType type, std::string_view text);

/// True for integers, reals and texts.
[[nodiscard]] bool is_list(SettingType type);
/// "a whole number", "a list of texts", ...
[[nodiscard]] std::string type_words(SettingType type);

}  // namespace lockstep
