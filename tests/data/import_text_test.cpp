// Text and raw tokens: what small exact inputs become with each tokenizer, and every way in which they are
// refused.
#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "data/utf8.h"
#include "imports.h"

namespace lockstep::data {
namespace {

TEST(Text, characters_split_and_come_back) {
  const TemporaryFolder folder;
  const std::string text = "to be, or not to be: \xc3\xa9t\xc3\xa9.";
  write_file(folder.file("t.txt"), text);
  const auto written = run("text", {{"input", list_of(folder.file("t.txt"))},
                                    {"validation_fraction", "0.2"},
                                    {"output", folder.file("t.h5")}});
  ASSERT_EQ(written.splits.size(), 2U);
  std::string back;
  for (const char* split : {"train", "validation"}) {
    const auto set = open_hdf5({folder.file("t.h5")}, split);
    const auto tokenizer = tokenizer_from_text(set->fact("tokenizer"));
    EXPECT_EQ(tokenizer->vocabulary_size(), set->classes());
    std::vector<std::uint16_t> tokens(static_cast<std::size_t>(set->size()));
    std::vector<std::int64_t> all(tokens.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
    SampleBuffers into{{reinterpret_cast<std::byte*>(tokens.data())}};
    set->read(all, into);
    back += tokenizer->decode(std::vector<std::int32_t>(tokens.begin(), tokens.end()));
  }
  EXPECT_EQ(back, text);
}

TEST(Text, gpt2_without_its_files_is_refused) {
  const TemporaryFolder folder;
  write_file(folder.file("t.txt"), "text");
  const auto error = error_of([&] {
    (void)run(
        "text",
        {{"input", list_of(folder.file("t.txt"))}, {"tokenizer", "gpt2"}, {"output", folder.file("t.h5")}});
  });
  EXPECT_EQ(error.fault(), Fault::config);
}

Given text_settings(const TemporaryFolder& folder, const std::string& input, const Given& more = {}) {
  return with({{"input", list_of(folder.file(input))}, {"output", folder.file("t.h5")}}, more);
}

/// The text of a split, by its stored tokenizer.
template <class T = std::uint16_t>
std::string text_of(const TemporaryFolder& folder, const std::string& split) {
  const auto set = open_hdf5({folder.file("t.h5")}, split);
  const auto tokens = stored<T>(*set, "tokens");
  return tokenizer_from_text(set->fact("tokenizer"))
      ->decode(std::vector<std::int32_t>(tokens.begin(), tokens.end()));
}

/// Files of a small BPE: the bytes, "th" and "the"; returns the settings that name them.
Given small_bpe(const TemporaryFolder& folder) {
  auto encoder = nlohmann::json::object();
  std::uint32_t next = 256;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    std::string spelled;
    append_code_point(spelled, printable ? byte : next++);
    encoder[spelled] = byte;
  }
  encoder["th"] = 256;
  encoder["the"] = 257;
  write_file(folder.file("encoder.json"), encoder.dump());
  write_file(folder.file("vocab.bpe"), "#version: 0.2\nt h\nth e\n");
  return {{"encoder", folder.file("encoder.json")}, {"vocabulary", folder.file("vocab.bpe")}};
}

TEST(Text, bytes_keep_any_bytes) {
  const TemporaryFolder folder;
  std::string all;
  for (int byte = 255; byte >= 0; --byte) all += static_cast<char>(byte);
  write_file(folder.file("t.bin"), all);
  (void)run("text", text_settings(folder, "t.bin", {{"tokenizer", "bytes"}, {"validation_fraction", "0"}}));
  EXPECT_EQ(text_of(folder, "train"), all);
  const auto set = open_hdf5({folder.file("t.h5")}, "train");
  EXPECT_EQ(set->classes(), 256);
  EXPECT_EQ(stored<std::uint16_t>(*set, "tokens").front(), 255);
  EXPECT_EQ(error_of([&] { (void)open_hdf5({folder.file("t.h5")}, "validation"); }).fault(), Fault::data);
}

TEST(Text, characters_are_numbered_by_code_point_over_both_splits) {
  const TemporaryFolder folder;
  write_file(folder.file("t.txt"), "bca");
  write_file(folder.file("v.txt"),
             "\xc3\xa9"
             "ab");
  (void)run("text", text_settings(folder, "t.txt", {{"validation", list_of(folder.file("v.txt"))}}));
  const auto train = open_hdf5({folder.file("t.h5")}, "train");
  EXPECT_EQ(train->classes(), 4);
  EXPECT_EQ(stored<std::uint16_t>(*train, "tokens"), (std::vector<std::uint16_t>{1, 2, 0}));
  EXPECT_EQ(stored<std::uint16_t>(*open_hdf5({folder.file("t.h5")}, "validation"), "tokens"),
            (std::vector<std::uint16_t>{3, 0, 1}));
}

TEST(Text, byte_pairs_merge_and_come_back) {
  const TemporaryFolder folder;
  write_file(folder.file("t.txt"), "the thin\xff");
  const auto settings =
      with(text_settings(folder, "t.txt", {{"tokenizer", "gpt2"}, {"validation_fraction", "0"}}),
           small_bpe(folder));
  EXPECT_EQ(run("text", settings).splits, (Splits{{"train", 6}}));
  EXPECT_EQ(stored<std::uint16_t>(*open_hdf5({folder.file("t.h5")}, "train"), "tokens"),
            (std::vector<std::uint16_t>{257, ' ', 256, 'i', 'n', 0xff}));
  EXPECT_EQ(text_of(folder, "train"), "the thin\xff");
}

TEST(Text, split_never_cuts_a_character) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 10; ++i) text += "\xf0\x9f\x8c\x8d";  // four bytes each
  write_file(folder.file("t.txt"), text);
  for (const char* fraction : {"0.01", "0.33", "0.5", "0.77", "0.89"}) {
    const auto written = run("text", text_settings(folder, "t.txt", {{"validation_fraction", fraction}}));
    std::int64_t characters = 0;
    for (const auto& [split, count] : written.splits) characters += count;
    EXPECT_EQ(characters, 10) << fraction;
    const std::string back =
        text_of(folder, "train") + (written.splits.size() > 1 ? text_of(folder, "validation") : "");
    EXPECT_EQ(back, text);
  }
}

TEST(Text, files_are_joined_in_order_and_unpacked) {
  const TemporaryFolder folder;
  write_file(folder.file("2.txt"), "two ");
  write_gzip(folder.file("1.txt"), "one ");
  write_file(folder.file("x.txt"), "end");
  (void)run("text", {{"input", "['" + folder.file("[12].txt") + "', " + folder.file("x.txt") + "]"},
                     {"validation_fraction", "0"},
                     {"output", folder.file("t.h5")}});
  EXPECT_EQ(text_of(folder, "train"), "one two end");
}

TEST(Text, text_that_cannot_be_encoded_is_refused_with_its_position) {
  const TemporaryFolder folder;
  write_file(folder.file("bad.txt"), "abc\xff");
  write_file(folder.file("empty.txt"), "");
  const auto not_utf8 = refused("text", text_settings(folder, "bad.txt"));
  EXPECT_TRUE(mentions(not_utf8, "not UTF-8 at byte 3")) << not_utf8.what();
  EXPECT_NE(not_utf8.hint().find("bytes"), std::string::npos);
  EXPECT_TRUE(mentions(refused("text", text_settings(folder, "empty.txt")), "the text is empty"));
  EXPECT_TRUE(
      mentions(refused("text", text_settings(folder, "empty.txt", {{"tokenizer", "bytes"}})), "no samples"));
  EXPECT_TRUE(mentions(refused("text", text_settings(folder, "absent.txt")), "absent.txt"));
}

TEST(Text, broken_byte_pair_files_are_refused_by_name) {
  const TemporaryFolder folder;
  write_file(folder.file("t.txt"), "the");
  auto settings = with(text_settings(folder, "t.txt", {{"tokenizer", "gpt2"}}), small_bpe(folder));
  write_file(folder.file("vocab.bpe"), "#version: 0.2\nt h\nq u\n");
  auto error = refused("text", settings);
  EXPECT_TRUE(mentions(error, "vocab.bpe") && mentions(error, "line 3") && mentions(error, "'qu'"))
      << error.what();
  write_file(folder.file("encoder.json"), "[1, 2]");
  error = refused("text", settings);
  EXPECT_TRUE(mentions(error, "encoder.json") && mentions(error, "not a JSON object")) << error.what();
}

// ---- tokens

TEST(Tokens, odd_size_and_foreign_tokens_are_refused) {
  const TemporaryFolder folder;
  write_file(folder.file("odd.bin"), "abc");
  write_file(folder.file("far.bin"), std::string("\x01\x00\xff\xff", 4));
  const auto import_train = [&](const std::string& name) {
    return error_of([&] {
      (void)run("tokens", {{"train", list_of(folder.file(name))}, {"output", folder.file("t.h5")}});
    });
  };
  EXPECT_TRUE(mentions(import_train("odd.bin"), "3 bytes"));
  EXPECT_TRUE(mentions(import_train("far.bin"), "token 1 is 65535"));
}

template <class T>
std::string raw(const std::vector<T>& tokens) {
  return {reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(T)};
}

TEST(Tokens, both_widths_are_stored_as_they_are) {
  const TemporaryFolder folder;
  write_file(folder.file("a.bin"), raw<std::uint16_t>({0, 7, 50256}));
  write_file(folder.file("b.bin"), raw<std::int32_t>({0, 70000, 99999}));
  const Given output{{"output", folder.file("t.h5")}};
  (void)run("tokens", with({{"train", list_of(folder.file("a.bin"))}}, output));
  auto set = open_hdf5({folder.file("t.h5")}, "train");
  EXPECT_EQ(stored<std::uint16_t>(*set, "tokens"), (std::vector<std::uint16_t>{0, 7, 50256}));
  EXPECT_EQ(set->classes(), 50257);
  EXPECT_EQ(set->fact("tokenizer"), "");
  (void)run(
      "tokens",
      with({{"train", list_of(folder.file("b.bin"))}, {"dtype", "i32"}, {"classes", "100000"}}, output));
  set = open_hdf5({folder.file("t.h5")}, "train");
  EXPECT_EQ(stored<std::int32_t>(*set, "tokens"), (std::vector<std::int32_t>{0, 70000, 99999}));
}

TEST(Tokens, files_join_and_the_tokenizer_travels_along) {
  const TemporaryFolder folder;
  write_file(folder.file("1.bin"), raw<std::uint16_t>({257}));
  write_file(folder.file("2.bin"), raw<std::uint16_t>({' ', 256, 'a'}));
  const auto settings = with({{"train", "['" + folder.file("?.bin") + "']"},
                              {"validation", list_of(folder.file("2.bin"))},
                              {"classes", "258"},
                              {"output", folder.file("t.h5")}},
                             small_bpe(folder));
  EXPECT_EQ(run("tokens", settings).splits, (Splits{{"train", 4}, {"validation", 3}}));
  EXPECT_EQ(text_of(folder, "train"), "the tha");
  EXPECT_EQ(text_of(folder, "validation"), " tha");
}

TEST(Tokens, negative_tokens_and_the_first_beyond_the_vocabulary_are_refused_with_their_place) {
  const TemporaryFolder folder;
  write_file(folder.file("negative.bin"), raw<std::int32_t>({5, 6, -1}));
  write_file(folder.file("far.bin"), raw<std::int32_t>({99, 100}));
  const auto refuse = [&](const std::string& name) {
    return refused("tokens", {{"train", list_of(folder.file(name))},
                              {"dtype", "i32"},
                              {"classes", "100"},
                              {"output", folder.file("t.h5")}});
  };
  EXPECT_TRUE(
      mentions(refuse("negative.bin"), "negative.bin': token 2 is -1, outside the vocabulary of 100"));
  EXPECT_TRUE(mentions(refuse("far.bin"), "token 1 is 100"));
}

TEST(Tokens, empty_file_and_missing_tokenizer_files_are_refused) {
  const TemporaryFolder folder;
  write_file(folder.file("none.bin"), "");
  write_file(folder.file("a.bin"), raw<std::uint16_t>({1}));
  const Given output{{"output", folder.file("t.h5")}};
  EXPECT_TRUE(
      mentions(refused("tokens", with({{"train", list_of(folder.file("none.bin"))}}, output)), "no samples"));
  const auto error = refused("tokens", with({{"train", list_of(folder.file("a.bin"))},
                                             {"encoder", folder.file("lost.json")},
                                             {"vocabulary", folder.file("a.bin")}},
                                            output));
  EXPECT_TRUE(mentions(error, "lost.json")) << error.what();
}

}  // namespace
}  // namespace lockstep::data
