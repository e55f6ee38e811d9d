// Tokenizers: published vectors exactly, any bytes round-trip, damaged vocabularies refused.
#include "data/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/random.h"
#include "data/bpe.h"
#include "data/utf8.h"

namespace lockstep::data {
namespace {

using nlohmann::json;
using Tokens = std::vector<std::int32_t>;

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
std::string shared(const std::string& file) { return std::string(LOCKSTEP_SHARED_DATA) + "/" + file; }

std::string random_bytes(std::size_t count, std::uint64_t seed) {
  const RandomSource random(seed, "bytes", 0);
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>(random.below(i, 256));
  return bytes;
}

std::string what_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  return "no error";
}
void expect_says(const std::string& what, const std::string& part) {
  EXPECT_NE(what.find(part), std::string::npos) << what;
}

/// A BPE of bytes plus "ab", "abc", "bc" (in that order of urgency) and the end of text.
struct Small {
  json encoder = json::object();
  std::string merges = "#version: 0.2\na b\nab c\nb c\n";
  Small() {
    const std::string printable = [] {
      std::string all;
      for (std::uint32_t c = '!'; c <= '~'; ++c) append_code_point(all, c);
      for (std::uint32_t c = 0xa1; c <= 0xac; ++c) append_code_point(all, c);
      for (std::uint32_t c = 0xae; c <= 0xff; ++c) append_code_point(all, c);
      for (std::uint32_t c = 256; c < 256 + 68; ++c) append_code_point(all, c);
      return all;
    }();
    for (std::size_t at = 0; at < printable.size();) {
      const auto point = code_point_at(printable, at);
      add(printable.substr(at, point.bytes));
      at += point.bytes;
    }
    for (const char* token : {"ab", "abc", "bc", "<|endoftext|>"}) add(token);
  }
  void add(const std::string& token) { encoder[token] = encoder.size(); }
  [[nodiscard]] Bpe make() const { return {encoder.dump(), merges}; }
};

TEST(Utf8, code_points_of_every_length_round_trip) {
  for (const std::uint32_t value : {0x0u, 0x7fu, 0x80u, 0x7ffu, 0x800u, 0xffffu, 0x10000u, 0x10ffffu}) {
    std::string text;
    append_code_point(text, value);
    const auto point = code_point_at(text, 0);
    EXPECT_EQ(point.value, value);
    EXPECT_EQ(point.bytes, text.size());
    if (text.size() > 1) {
      EXPECT_EQ(code_point_at(text.substr(0, text.size() - 1), 0).bytes, 0u);
    }
  }
}

TEST(Utf8, overlong_surrogate_and_stray_bytes_are_refused) {
  for (const char* text :
       {"\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\xff", "\xc3("}) {
    EXPECT_EQ(code_point_at(text, 0).bytes, 0u) << text;
  }
}

TEST(ByteTokenizer, any_bytes_round_trip) {
  const auto tokenizer = byte_tokenizer();
  const std::string text = random_bytes(1009, 1);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_EQ(tokenizer->vocabulary_size(), 256);
  EXPECT_EQ(tokenizer->encode("\xff"), Tokens{255});
  EXPECT_EQ(tokenizer->encode(""), Tokens{});
  expect_says(what_of([&] { (void)tokenizer->decode(Tokens{256}); }),
              "token 256 is outside the vocabulary of 256");
}

TEST(CharacterTokenizer, ids_follow_code_points) {
  const auto tokenizer = character_tokenizer("héllo 🌍\n");
  EXPECT_EQ(tokenizer->vocabulary_size(), 7);
  EXPECT_EQ(tokenizer->encode("\n hloé🌍"), (Tokens{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(tokenizer->decode(Tokens{2, 5, 3}), "hél");
}

TEST(CharacterTokenizer, unknown_or_damaged_text_is_refused_with_its_position) {
  const auto tokenizer = character_tokenizer("abc");
  expect_says(what_of([&] { (void)tokenizer->encode("abXc"); }), "U+0058 at byte 2");
  expect_says(what_of([&] { (void)tokenizer->encode("ab\xff"); }), "not UTF-8 at byte 2");
  expect_says(what_of([&] { (void)tokenizer->decode(Tokens{-1}); }), "token -1");
  expect_says(what_of([] { (void)character_tokenizer(""); }), "empty");
}

TEST(CharacterTokenizer, tinyshakespeare_has_65_characters) {
  const std::string text = contents(shared("tinyshakespeare/input.txt"));
  if (text.empty()) GTEST_SKIP() << "tinyshakespeare is not here";
  const auto tokenizer = character_tokenizer(text);
  EXPECT_EQ(tokenizer->vocabulary_size(), 65);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
}

TEST(StoredTokenizer, text_makes_an_equal_tokenizer) {
  const Small small;
  const json stored{{"kind", "gpt2"}, {"encoder", small.encoder}, {"merges", small.merges}};
  for (const std::string& text :
       {byte_tokenizer()->to_text(), character_tokenizer("añb🌍")->to_text(), stored.dump()}) {
    const auto tokenizer = tokenizer_from_text(text);
    const auto again = tokenizer_from_text(tokenizer->to_text());
    EXPECT_EQ(again->kind(), tokenizer->kind());
    EXPECT_EQ(again->vocabulary_size(), tokenizer->vocabulary_size());
    EXPECT_EQ(again->encode("abb"), tokenizer->encode("abb"));
    EXPECT_EQ(again->to_text(), text);
  }
}

TEST(StoredTokenizer, foreign_text_is_refused) {
  for (const char* text :
       {"", "{", "[]", R"({"kind":"words"})", R"({"kind":"gpt2"})", R"({"kind":"characters"})"}) {
    expect_says(what_of([&] { (void)tokenizer_from_text(text); }), "is not known");
  }
}

TEST(Bpe, merges_in_order_of_urgency_leftmost_first) {
  const Small small;
  const Bpe bpe = small.make();
  const auto id = [&](const char* token) { return small.encoder[token].get<std::int32_t>(); };
  EXPECT_EQ(bpe.encode("abc"), Tokens{id("abc")});
  EXPECT_EQ(bpe.encode("bbc"), (Tokens{id("b"), id("bc")}));
  EXPECT_EQ(bpe.encode("abbc"), (Tokens{id("ab"), id("bc")}));
  EXPECT_EQ(bpe.encode("abab"), (Tokens{id("ab"), id("ab")}));
  EXPECT_EQ(bpe.encode(""), Tokens{});
  EXPECT_EQ(bpe.end_of_text(), id("<|endoftext|>"));
  EXPECT_EQ(bpe.decode(Tokens{bpe.end_of_text()}), "<|endoftext|>");
}

TEST(Bpe, bytes_that_are_not_utf8_round_trip) {
  const Bpe bpe = Small().make();
  for (const std::string& text : {std::string("\xff\xfe ab\xc3"), std::string("a\0b", 3),
                                  random_bytes(4099, 2), std::string("\xe2\x82"), std::string("x\x80y")}) {
    EXPECT_EQ(bpe.decode(bpe.encode(text)), text);
  }
}

TEST(Bpe, damaged_vocabularies_are_refused) {
  const Small good;
  expect_says(what_of([&] { Bpe("{\"a\"", good.merges); }), "not a JSON object");
  expect_says(what_of([&] { Bpe("{\"a\":0}", good.merges); }), "no token for byte");
  expect_says(what_of([&] { Bpe("{\"a\":0,\"b\":0}", ""); }), "has id 0");
  expect_says(what_of([&] { Bpe("{\"a\":\"x\"}", ""); }), "has id \"x\"");
  expect_says(what_of([&] { Bpe("{\"\u4e00\":0}", ""); }), "is not spelled");
  expect_says(what_of([&] { Bpe(good.encoder.dump(), "#version\na b\nq z\n"); }),
              "line 3 of the merges uses 'qz'");
  expect_says(what_of([&] { Bpe(good.encoder.dump(), "#version\nab\n"); }), "line 2 of the merges is 'ab'");
  expect_says(what_of([&] { Bpe(good.encoder.dump(), "a b c\n"); }), "not two tokens");
  const Bpe windows(good.encoder.dump(), "#version\r\na b\r\n");
  EXPECT_EQ(windows.encode("ab").size(), 1u);
}

TEST(Gpt2Tokenizer, missing_file_is_named) {
  expect_says(what_of([] { (void)gpt2_tokenizer("nowhere/encoder.json", "vocab.bpe"); }),
              "nowhere/encoder.json");
}

class Gpt2 : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(shared("gpt2-bpe/encoder.json"))) GTEST_SKIP() << "gpt2-bpe is not here";
    static const auto once = gpt2_tokenizer(shared("gpt2-bpe/encoder.json"), shared("gpt2-bpe/vocab.bpe"));
    tokenizer_ = once.get();
  }
  Tokenizer* tokenizer_ = nullptr;
};

TEST_F(Gpt2, published_vectors_encode_exactly_and_decode_back) {
  const auto vectors = json::parse(contents(shared("gpt2-bpe/gpt2_bpe_vectors_dev.json")));
  ASSERT_EQ(vectors.size(), 36u);
  for (const auto& vector : vectors) {
    const auto text = vector["text"].get<std::string>();
    const auto ids = vector["ids"].get<Tokens>();
    EXPECT_EQ(tokenizer_->encode(text), ids) << text;
    EXPECT_EQ(tokenizer_->decode(ids), text);
  }
  EXPECT_EQ(tokenizer_->vocabulary_size(), 50257);
}

TEST_F(Gpt2, tinyshakespeare_encodes_to_the_stored_tokens_within_seconds) {
  const std::string text = contents(shared("tinyshakespeare/input.txt"));
  std::string stored = contents(shared("tinyshakespeare/train_gpt2_u16.bin"));
  stored += contents(shared("tinyshakespeare/val_gpt2_u16.bin"));
  if (stored.empty()) GTEST_SKIP() << "tinyshakespeare is not here";
  // The 90/10 split was made on characters and each part encoded alone.
  const auto cut = static_cast<std::size_t>(0.9 * static_cast<double>(text.size()));
  const auto began = std::chrono::steady_clock::now();
  Tokens tokens = tokenizer_->encode(text.substr(0, cut));
  const Tokens rest = tokenizer_->encode(text.substr(cut));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(), 10);
  EXPECT_EQ(tokens.size(), 301966u);
  EXPECT_EQ(rest.size(), 36059u);
  tokens.insert(tokens.end(), rest.begin(), rest.end());
  std::vector<std::uint16_t> expected(stored.size() / 2);
  std::memcpy(expected.data(), stored.data(), stored.size());
  EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), expected.begin(), expected.end()));
}

TEST_F(Gpt2, long_runs_and_raw_bytes_round_trip) {
  for (const std::string& text : {std::string(300000, 'a'), std::string(300000, ' ') + "x",
                                  random_bytes(100003, 3), std::string("a \xff  b\n\n \xe2\x80\x83 c")}) {
    EXPECT_TRUE(tokenizer_->decode(tokenizer_->encode(text)) == text);
  }
}

}  // namespace
}  // namespace lockstep::data
