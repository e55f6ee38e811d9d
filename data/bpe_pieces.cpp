// Pieces by PCRE2.
#include "data/bpe_pieces.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <string>

#include "core/error.h"
#include "data/utf8.h"

namespace lockstep::data {
namespace {

/// GPT-2's pattern. White space is spelled out as Unicode's White_Space, because PCRE2's \s with UCP also
/// takes U+180E.
std::string gpt2_pattern() {
  const std::string spaces =
      R"(\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
  return fmt::format(
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+| ?[^{0}\p{{L}}\p{{N}}]+|[{0}]+(?![^{0}])|[{0}]+)",
      spaces);
}

/// The compiled pattern, made once and never written again.
const pcre2_code* pattern() {
  static const pcre2_code* code = [] {
    const std::string text = gpt2_pattern();
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code* made = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                     PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
    if (made == nullptr) {
      throw Error(Fault::internal,
                  fmt::format("PCRE2 refuses the GPT-2 pattern (error {} at {})", error, offset),
                  "install a PCRE2 with Unicode support");
    }
    pcre2_jit_compile(made, PCRE2_JIT_COMPLETE);  // only speed: the interpreter serves when it fails
    return made;
  }();
  return code;
}

/// Walks the pieces of a text. PCRE2 only sees runs of valid UTF-8 (so it need not check them at every
/// match); a run of other bytes is a piece of its own.
class Pieces {
 public:
  explicit Pieces(std::string_view text)
      : text_(text), match_(pcre2_match_data_create_from_pattern(pattern(), nullptr)) {}
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;
  ~Pieces() { pcre2_match_data_free(match_); }

  /// The next piece, empty at the end.
  std::string_view next() {
    if (at_ == text_.size()) return {};
    const std::size_t from = at_;
    if (at_ >= run_end_) {
      at_ = end_of_run(false);
      if (at_ > from) return text_.substr(from, at_ - from);
      run_end_ = end_of_run(true);
    }
    at_ = end_of_match();
    return text_.substr(from, at_ - from);
  }

 private:
  /// Where the run of characters (or of bytes that are none) that starts here ends.
  [[nodiscard]] std::size_t end_of_run(bool valid) const {
    std::size_t at = at_;
    while (at < text_.size()) {
      const std::size_t bytes = code_point_at(text_, at).bytes;
      if ((bytes > 0) != valid) break;
      at += std::max<std::size_t>(bytes, 1);
    }
    return at;
  }
  /// The alternatives cover every character, so the match starts here.
  [[nodiscard]] std::size_t end_of_match() const {
    const int found = pcre2_match(pattern(), reinterpret_cast<PCRE2_SPTR>(text_.data()), run_end_, at_,
                                  PCRE2_NO_UTF_CHECK, match_, nullptr);
    if (found <= 0) {
      throw Error(Fault::data,
                  fmt::format("cutting text into pieces failed at byte {} (PCRE2 {})", at_, found),
                  "break up very long runs of letters");
    }
    return pcre2_get_ovector_pointer(match_)[1];
  }
  std::string_view text_;
  pcre2_match_data* match_;
  std::size_t at_ = 0, run_end_ = 0;
};

}  // namespace

void each_piece(std::string_view text, const std::function<void(std::string_view)>& visit) {
  Pieces pieces(text);
  for (std::string_view piece = pieces.next(); !piece.empty(); piece = pieces.next()) visit(piece);
}

}  // namespace lockstep::data
