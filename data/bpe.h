// GPT-2's byte-level byte-pair encoding (Radford et al., 2019; Sennrich et al., 2016): text is cut into
// pieces by a regular expression, each piece starts as its bytes, and adjacent pairs merge in the order in
// which training found them. Vocabulary files spell bytes as printable characters (byte 32 is "Ġ").
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lockstep::data {

class Bpe {
 public:
  /// `encoder_json` maps spelled tokens to ids 0 ... n-1; `merges` has one "left right" a line after a
  /// version line, the most urgent first. Both are contents, not paths. Throws Fault::data saying what does
  /// not fit.
  Bpe(std::string_view encoder_json, std::string_view merges);

  [[nodiscard]] std::int64_t vocabulary_size() const noexcept {
    return static_cast<std::int64_t>(bytes_of_.size());
  }
  /// Bytes that are not UTF-8 are encoded one piece per run, so any bytes round-trip. "<|endoftext|>" in the
  /// text is plain text, as in GPT-2's own encoder. Thread-safe.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const;
  [[nodiscard]] std::string decode(std::span<const std::int32_t> tokens) const;
  /// The id that separates documents, -1 when the vocabulary has none.
  [[nodiscard]] std::int32_t end_of_text() const noexcept { return end_of_text_; }

 private:
  struct Merge {
    std::int32_t rank = 0;
    std::int32_t result = 0;
  };
  void read_encoder(std::string_view json, std::unordered_map<std::string, std::int32_t>& ids);
  void read_merges(std::string_view text, const std::unordered_map<std::string, std::int32_t>& ids);
  [[nodiscard]] std::vector<std::int32_t> merge(std::string_view piece) const;
  [[nodiscard]] const Merge* find(std::int32_t left, std::int32_t right) const;

  std::vector<std::string> bytes_of_;                ///< by id
  std::vector<std::int32_t> id_of_byte_;             ///< 256
  std::unordered_map<std::uint64_t, Merge> merges_;  ///< by (left id, right id)
  std::int32_t end_of_text_ = -1;
};

}  // namespace lockstep::data
