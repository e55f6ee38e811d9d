// Settings of importers that contradict each other or name what cannot be: refused by name before a file is
// left, where a part of them was silently dropped.
#include <limits>

#include <gtest/gtest.h>

#include "data/info.h"
#include "imports.h"

namespace lockstep::data {
namespace {

class ForeignNames : public testing::Test {
 protected:
  ForeignNames() {
    auto file = Hdf5File::create(folder_.file("in.h5"));
    put(file, "/x", Shape{4, 2}, std::vector<float>(8, 1.0F));
    put(file, "/y", Shape{4}, std::vector<std::int32_t>{0, 1, 2, 3});
  }
  [[nodiscard]] Given given(const std::string& tensors, const Given& more = {}) const {
    return with({{"input", folder_.file("in.h5")}, {"tensors", tensors}, {"output", folder_.file("o.h5")}},
                more);
  }
  TemporaryFolder folder_;
};

TEST_F(ForeignNames, two_datasets_for_one_tensor_are_refused) {
  for (const char* tensors : {"[a=/x, a=/y]", "[a=/x, a=/x]", "[b=/y, a=/x, a=/y]"}) {
    const auto error = refused("hdf5", given(tensors));
    EXPECT_EQ(error.fault(), Fault::config) << tensors;
    EXPECT_TRUE(mentions(error, "mapped to tensor 'a'")) << error.what();
    EXPECT_FALSE(error.hint().empty());
  }
  EXPECT_EQ(run("hdf5", given("[a=/x, b=/x]")).splits, (Splits{{"train", 4}})) << "one for two is fine";
}

TEST_F(ForeignNames, names_that_hdf5_would_take_for_paths_are_refused) {
  for (const char* name : {"a/b", "/a", "a/", "."}) {
    const auto error = refused("hdf5", given("[\"" + std::string(name) + "=/x\"]"));
    EXPECT_EQ(error.fault(), Fault::config) << name;
    EXPECT_TRUE(mentions(error, "'" + std::string(name) + "' cannot name a tensor")) << error.what();
  }
  for (const char* name : {"a.b", "..", "with blank", "ü"})
    EXPECT_EQ(run("hdf5", given("[\"" + std::string(name) + "=/x\"]")).splits, (Splits{{"train", 4}}))
        << name;
}

TEST_F(ForeignNames, held_back_places_may_repeat_but_not_lie_outside) {
  EXPECT_EQ(run("hdf5", given("[a=/x]", {{"held_back", "[3, 3, 3]"}})).splits,
            (Splits{{"train", 3}, {"validation", 1}}));
  for (const char* places : {"[-1]", "[4]", "[0, 9223372036854775807]"}) {
    std::filesystem::remove(folder_.file("o.h5"));
    EXPECT_EQ(refused("hdf5", given("[a=/x]", {{"held_back", places}})).fault(), Fault::config) << places;
  }
}

TEST_F(ForeignNames, fraction_takes_whole_places_from_the_end_and_leaves_one) {
  for (const auto& [fraction, held] : std::vector<std::pair<std::string, std::int64_t>>{
           {"0", 0}, {"0.24", 0}, {"0.25", 1}, {"0.5", 2}, {"0.99", 3}}) {
    const auto splits = run("hdf5", given("[a=/y]", {{"validation_fraction", fraction}})).splits;
    EXPECT_EQ(splits[0].second, 4 - held) << fraction;
    EXPECT_EQ(splits.size(), held > 0 ? 2U : 1U) << fraction;
  }
}

TEST(TokensTokenizer, half_a_tokenizer_is_refused) {
  const TemporaryFolder folder;
  write_file(folder.file("t.bin"), std::string("\1\0\2\0", 4));
  for (const char* half : {"encoder", "vocabulary"}) {
    const auto error = refused("tokens", {{"train", list_of(folder.file("t.bin"))},
                                          {half, folder.file("x")},
                                          {"output", folder.file("o.h5")}});
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_TRUE(mentions(error, "both of its files")) << error.what();
  }
}

TEST(TextValidation, of_empty_files_is_refused_not_replaced_by_a_part_of_the_input) {
  const TemporaryFolder folder;
  write_file(folder.file("t.txt"), "hello world");
  write_file(folder.file("empty.txt"), "");
  const Given settings{{"input", list_of(folder.file("t.txt"))},
                       {"validation", list_of(folder.file("empty.txt"))},
                       {"output", folder.file("o.h5")}};
  for (const char* tokenizer : {"bytes", "characters"}) {
    const auto error = refused("text", with(settings, {{"tokenizer", tokenizer}}));
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_TRUE(mentions(error, "to validate on is empty")) << error.what();
  }
}

TEST(InfoRanges, values_that_are_no_number_are_counted_and_left_out) {
  const TemporaryFolder folder;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  {
    auto file = Hdf5File::create(folder.file("a.h5"));
    put(file, "/first", Shape{4}, std::vector<float>{nan, 2, -1, 5});
    put(file, "/last", Shape{4}, std::vector<float>{2, -1, 5, nan});
    put(file, "/both", Shape{2, 2}, std::vector<float>{nan, 7, 7, nan});
    put(file, "/none", Shape{3}, std::vector<float>{nan, nan, nan});
    put(file, "/whole", Shape{2}, std::vector<float>{1, 2});
    put(file, "/infinite", Shape{2}, std::vector<float>{1, std::numeric_limits<float>::infinity()});
  }
  const std::string text = describe_file(folder.file("a.h5"));
  const auto after = [&](const std::string& name) {
    const auto at = text.find("values", text.find("  " + name + " "));
    return text.substr(at, text.find('\n', at) - at);
  };
  EXPECT_EQ(after("first"), "values -1 to 5, and 1 that are no number");
  EXPECT_EQ(after("last"), "values -1 to 5, and 1 that are no number");
  EXPECT_EQ(after("both"), "values 7 to 7, and 2 that are no number");
  EXPECT_EQ(after("none"), "values nan to nan, and 3 that are no number");
  EXPECT_EQ(after("whole"), "values 1 to 2");
  EXPECT_EQ(after("infinite"), "values 1 to inf");
}

}  // namespace
}  // namespace lockstep::data
