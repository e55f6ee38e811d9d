// Text in pieces: GPT-2's cutting rule case by case, UTF-8 at its edges, byte pairs against a plain
// implementation, and stored tokenizers that are not ours.
#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/random.h"
#include "data/bpe.h"
#include "data/bpe_pieces.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "data_files.h"

namespace lockstep::data {
namespace {

using Tokens = std::vector<std::int32_t>;
using Words = std::vector<std::string>;

Words pieces_of(std::string_view text) {
  Words pieces;
  each_piece(text, [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

TEST(Pieces, words_numbers_and_signs_keep_one_space_before_them) {
  EXPECT_EQ(pieces_of("Hello world"), (Words{"Hello", " world"}));
  EXPECT_EQ(pieces_of("a1b22 33"), (Words{"a", "1", "b", "22", " 33"}));
  EXPECT_EQ(pieces_of("x = y+1;"), (Words{"x", " =", " y", "+", "1", ";"}));
  EXPECT_EQ(pieces_of(""), Words{});
}

TEST(Pieces, white_space_before_a_word_gives_it_the_last_space) {
  EXPECT_EQ(pieces_of("a   b"), (Words{"a", "  ", " b"}));
  EXPECT_EQ(pieces_of("a \n b"), (Words{"a", " \n", " b"}));
  EXPECT_EQ(pieces_of("a\n\nb"), (Words{"a", "\n", "\n", "b"}));
  EXPECT_EQ(pieces_of("a  "), (Words{"a", "  "}));
  EXPECT_EQ(pieces_of("\t\t"), Words{"\t\t"});
}

TEST(Pieces, contractions_are_cut_off_in_lower_case_only) {
  EXPECT_EQ(pieces_of("I'm we'll you've"), (Words{"I", "'m", " we", "'ll", " you", "'ve"}));
  EXPECT_EQ(pieces_of("I'M"), (Words{"I", "'", "M"}));
  EXPECT_EQ(pieces_of("'tis"), (Words{"'t", "is"}));
}

TEST(Pieces, letters_and_numbers_of_any_script_are_words) {
  EXPECT_EQ(pieces_of("na\xc3\xafve \xd0\xbc\xd0\xb8\xd1\x80"),
            (Words{"na\xc3\xafve", " \xd0\xbc\xd0\xb8\xd1\x80"}));
  EXPECT_EQ(pieces_of("\xe4\xb8\x96\xe7\x95\x8c"
                      "5"),
            (Words{"\xe4\xb8\x96\xe7\x95\x8c", "5"}));
  EXPECT_EQ(pieces_of("\xc2\xbd"
                      "x"),
            (Words{"\xc2\xbd", "x"}))
      << "one half is a number";
  EXPECT_EQ(pieces_of("a\xc2\xa0"
                      "b"),
            (Words{"a", "\xc2\xa0", "b"}))
      << "a no-break space is white space";
}

TEST(Pieces, bytes_that_are_no_characters_are_runs_of_their_own) {
  EXPECT_EQ(pieces_of("ab\xff\xfe"
                      "cd"),
            (Words{"ab", "\xff\xfe", "cd"}));
  EXPECT_EQ(pieces_of("\x80"), Words{"\x80"});
  EXPECT_EQ(pieces_of("a \xc3"), (Words{"a", " ", "\xc3"}));
}

TEST(Pieces, together_are_the_text_whatever_its_bytes) {
  const RandomSource random(4, "pieces", 0);
  const std::string alphabet = "a'st 1\n\xc3\xa9\xff.";
  for (std::uint64_t text_number = 0; text_number < 300; ++text_number) {
    std::string text;
    for (std::uint64_t i = 0; i < 40; ++i)
      text += alphabet[random.below(text_number * 40 + i, alphabet.size())];
    std::string joined;
    for (const auto& piece : pieces_of(text)) {
      EXPECT_FALSE(piece.empty());
      joined += piece;
    }
    ASSERT_EQ(joined, text);
  }
}

// ---- UTF-8

TEST(Utf8Edges, every_code_point_round_trips_in_its_fewest_bytes) {
  for (std::uint32_t value = 0; value <= 0x10ffff; ++value) {
    if (value >= 0xd800 && value <= 0xdfff) continue;
    std::string text;
    append_code_point(text, value);
    const CodePoint back = code_point_at(text, 0);
    ASSERT_EQ(back.value, value);
    ASSERT_EQ(back.bytes, text.size());
    ASSERT_EQ(text.size(), value < 0x80 ? 1U : value < 0x800 ? 2U : value < 0x10000 ? 3U : 4U);
  }
}

TEST(Utf8Edges, any_cut_or_changed_lead_byte_is_refused) {
  for (const std::uint32_t value : {0x80U, 0x7ffU, 0x800U, 0xffffU, 0x10000U, 0x10ffffU}) {
    std::string text;
    append_code_point(text, value);
    for (std::size_t length = 1; length < text.size(); ++length) {
      EXPECT_EQ(code_point_at(text.substr(0, length), 0).bytes, 0U) << value;
      EXPECT_EQ(code_point_at(text.substr(0, length) + "a", 0).bytes, 0U) << value;
      EXPECT_EQ(code_point_at(text, length).bytes, 0U) << "a continuation byte starts no character";
    }
  }
  for (const char* text : {"\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xed\xbf\xbf"}) {
    EXPECT_EQ(code_point_at(text, 0).bytes, 0U);
  }
}

// ---- byte pairs

/// A vocabulary of the bytes and merges made at random from shorter tokens over "abc ".
struct RandomVocabulary {
  nlohmann::json encoder = nlohmann::json::object();
  std::string merges = "#version: 0.2\n";
  std::vector<std::pair<std::string, std::string>> order;

  explicit RandomVocabulary(std::uint64_t seed) {
    std::uint32_t next = 256;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      std::string spelled;
      append_code_point(spelled, printable ? byte : next++);
      encoder[spelled] = byte;
    }
    const RandomSource random(seed, "merges", 0);
    Words known{"a", "b", "c"};
    for (std::uint64_t draw = 0; known.size() < 20; draw += 2) {
      const std::string left = known[random.below(draw, known.size())];
      const std::string right = known[random.below(draw + 1, known.size())];
      if (encoder.contains(left + right)) continue;
      encoder[left + right] = encoder.size();
      merges += left + " " + right + "\n";
      order.emplace_back(left, right);
      known.push_back(left + right);
    }
  }

  /// The published procedure, word for word: merge all places of the most urgent pair, again and again.
  [[nodiscard]] Tokens encode_plainly(const std::string& word) const {
    Words parts;
    for (const char c : word) parts.emplace_back(1, c);
    while (true) {
      const auto has = [&](const auto& pair) {
        for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
          if (parts[i] == pair.first && parts[i + 1] == pair.second) return true;
        }
        return false;
      };
      const auto found = std::ranges::find_if(order, has);
      if (found == order.end()) break;
      Words merged;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const bool pair = i + 1 < parts.size() && parts[i] == found->first && parts[i + 1] == found->second;
        merged.push_back(pair ? parts[i] + parts[i + 1] : parts[i]);
        i += pair ? 1 : 0;
      }
      parts = merged;
    }
    Tokens tokens;
    for (const auto& part : parts) tokens.push_back(encoder[part].get<std::int32_t>());
    return tokens;
  }
};

TEST(BytePairs, agree_with_the_plain_procedure_on_random_vocabularies_and_words) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const RandomVocabulary vocabulary(seed);
    const Bpe bpe(vocabulary.encoder.dump(), vocabulary.merges);
    const RandomSource random(seed, "words", 0);
    for (std::uint64_t word_number = 0; word_number < 50; ++word_number) {
      std::string word;
      const std::uint64_t length = 1 + random.below(word_number, 30);
      for (std::uint64_t i = 0; i < length; ++i) word += "abc"[random.below(1000 + word_number * 30 + i, 3)];
      ASSERT_EQ(bpe.encode(word), vocabulary.encode_plainly(word)) << word << " with seed " << seed;
      ASSERT_EQ(bpe.decode(bpe.encode(word)), word);
    }
  }
}

TEST(BytePairs, tokens_outside_the_vocabulary_and_a_missing_end_are_told) {
  const RandomVocabulary vocabulary(1);
  const Bpe bpe(vocabulary.encoder.dump(), vocabulary.merges);
  EXPECT_EQ(bpe.end_of_text(), -1);
  const auto size = static_cast<std::int32_t>(bpe.vocabulary_size());
  for (const std::int32_t token : {-1, size}) {
    const auto error = error_of([&] { (void)bpe.decode(Tokens{token}); });
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_TRUE(mentions(error, "token " + std::to_string(token) + " is outside")) << error.what();
  }
  EXPECT_NO_THROW((void)bpe.decode(Tokens{size - 1}));
}

// ---- stored tokenizers

TEST(StoredTokenizers, any_json_that_is_not_ours_is_refused_as_data) {
  for (const char* text :
       {R"({"kind":3})", R"({"kind":null})", R"({"kind":["bytes"]})", R"("bytes")", "17",
        R"({"kind":"characters","characters":5})", R"({"kind":"characters","characters":""})",
        R"({"kind":"gpt2","encoder":[],"merges":""})", R"({"kind":"gpt2","encoder":{},"merges":1})",
        R"({"kind":"gpt2","encoder":{},"merges":""})", "\xff\xfe"}) {
    EXPECT_EQ(error_of([&] { (void)tokenizer_from_text(text); }).fault(), Fault::data) << text;
  }
}

TEST(StoredTokenizers, characters_that_json_must_escape_survive) {
  const std::string text = std::string("\"\\\n\t\0\x7f/", 7) + "\xe2\x80\xa8\xf0\x9f\x8c\x8d";
  const auto tokenizer = character_tokenizer(text);
  const auto again = tokenizer_from_text(tokenizer->to_text());
  EXPECT_EQ(again->vocabulary_size(), 9);
  EXPECT_EQ(again->encode(text), tokenizer->encode(text));
  EXPECT_EQ(again->decode(again->encode(text)), text);
}

}  // namespace
}  // namespace lockstep::data
