// Text to token ids and back. Every tokenizer is byte-exact: decode(encode(text)) == text for any bytes it
// can encode at all. A data set stores to_text() beside its tokens, so that generation needs no other file.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::data {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// "bytes", "characters" or "gpt2".
  [[nodiscard]] virtual std::string_view kind() const noexcept = 0;
  /// Ids are 0 ... vocabulary_size() - 1.
  [[nodiscard]] virtual std::int64_t vocabulary_size() const noexcept = 0;
  /// Thread-safe. Throws Fault::data naming the position when the text has something without a token.
  [[nodiscard]] virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  /// Thread-safe. Throws Fault::data for an id outside the vocabulary. A cut-off sequence may end inside a
  /// UTF-8 character.
  [[nodiscard]] virtual std::string decode(std::span<const std::int32_t> tokens) const = 0;
  /// UTF-8 text (JSON) from which tokenizer_from_text() makes an equal tokenizer. Up to 2 MB for GPT-2.
  [[nodiscard]] virtual std::string to_text() const = 0;
};

/// 256 tokens: the bytes themselves.
[[nodiscard]] std::unique_ptr<Tokenizer> byte_tokenizer();
/// One token per distinct UTF-8 character of `corpus`, in code-point order (the order of nanoGPT's character
/// data). Throws Fault::data when the corpus is empty or not UTF-8.
[[nodiscard]] std::unique_ptr<Tokenizer> character_tokenizer(std::string_view corpus);
/// GPT-2's byte-level BPE (see bpe.h) from its two files. Throws Fault::data naming the file that is missing,
/// damaged or not a match for the other.
[[nodiscard]] std::unique_ptr<Tokenizer> gpt2_tokenizer(const std::string& encoder_json,
                                                        const std::string& vocab_bpe);
/// The inverse of to_text(). Throws Fault::data when the text is not a tokenizer's.
[[nodiscard]] std::unique_ptr<Tokenizer> tokenizer_from_text(std::string_view text);

}  // namespace lockstep::data
