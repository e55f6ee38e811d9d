// Foreign HDF5 files as data sets, and files unpacked on the way in.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <lzma.h>

#include "data/bytes_file.h"
#include "data/statistics.h"
#include "imports.h"

namespace lockstep::data {
namespace {

TEST(ForeignHdf5, leading_axes_become_samples_and_a_member_is_held_back) {
  const TemporaryFolder folder;
  {
    auto file = Hdf5File::create(folder.file("foreign.h5"));
    std::vector<float> values(3 * 5 * 4 * 6);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i / 24);
    put(file, "/t", Shape{3, 5, 4, 6}, values);
  }
  const auto written = run("hdf5", {{"input", folder.file("foreign.h5")},
                                    {"tensors", "[field=/t]"},
                                    {"sample_axes", "2"},
                                    {"held_back", "[1]"},
                                    {"output", folder.file("o.h5")}});
  EXPECT_EQ(written.splits,
            (std::vector<std::pair<std::string, std::int64_t>>{{"train", 10}, {"validation", 5}}));
  const auto set = open_hdf5({folder.file("o.h5")}, "train");
  EXPECT_EQ(set->sample()[0].shape, (Shape{1, 4, 6}));
  EXPECT_DOUBLE_EQ(std::stod(set->fact("mean")), 7.0);  // of 0..4 and 10..14
  std::vector<float> field(24);
  SampleBuffers into{{reinterpret_cast<std::byte*>(field.data())}};
  set->read(std::vector<std::int64_t>{5}, into);
  EXPECT_EQ(field[23], 10.0F);
}

TEST(ForeignHdf5, wrong_mappings_are_refused) {
  const TemporaryFolder folder;
  {
    auto file = Hdf5File::create(folder.file("foreign.h5"));
    put(file, "/x", Shape{4, 2}, std::vector<float>(8, 1.0F));
    put(file, "/y", Shape{3}, std::vector<std::int32_t>(3, 0));
    put(file, "/nan", Shape{1, 2}, std::vector<float>{1.0F, std::numeric_limits<float>::quiet_NaN()});
  }
  const auto refused = [&](const std::string& tensors, const std::string& held) {
    return error_of([&] {
      (void)run("hdf5", {{"input", folder.file("foreign.h5")},
                         {"tensors", tensors},
                         {"held_back", held},
                         {"output", folder.file("o.h5")}});
    });
  };
  EXPECT_TRUE(mentions(refused("[x]", "[]"), "does not map"));
  EXPECT_TRUE(mentions(refused("[x=/z]", "[]"), "'/z'"));
  EXPECT_TRUE(mentions(refused("[x=/x, y=/y]", "[]"), "counts 3 samples"));
  EXPECT_TRUE(mentions(refused("[x=/x]", "[4]"), "place 4 of 4"));
  EXPECT_TRUE(mentions(refused("[x=/x]", "[0, 1, 2, 3]"), "none is left"));
  EXPECT_TRUE(mentions(refused("[x=/nan]", "[]"), "not finite"));
}

/// "/x" f32 [4, 3, 2, 2] = 0, 1, ... and "/y" i64 [4, 3] = place * 10 + time.
class ForeignPairs : public testing::Test {
 protected:
  ForeignPairs() {
    auto file = Hdf5File::create(folder_.file("in.h5"));
    std::vector<float> x(48);
    std::iota(x.begin(), x.end(), 0.0F);
    std::vector<std::int64_t> y;
    for (std::int64_t i = 0; i < 12; ++i) y.push_back(i / 3 * 10 + i % 3);
    put(file, "/x", Shape{4, 3, 2, 2}, x);
    put(file, "/y", Shape{4, 3}, y);
    put(file, "/text", Shape{}, std::vector<double>{1});
  }
  [[nodiscard]] Given given(const Given& more) const {
    return with({{"input", folder_.file("in.h5")}, {"output", folder_.file("o.h5")}}, more);
  }
  [[nodiscard]] std::unique_ptr<Dataset> open(const std::string& split) const {
    return open_hdf5({folder_.file("o.h5")}, split);
  }
  TemporaryFolder folder_;
};

TEST_F(ForeignPairs, one_axis_of_samples_keeps_the_others) {
  EXPECT_EQ(run("hdf5", given({{"tensors", "[image=/x, label=/y]"}})).splits, (Splits{{"train", 4}}));
  const auto set = open("train");
  EXPECT_EQ(set->sample()[0].shape, (Shape{3, 2, 2}));
  EXPECT_EQ(set->sample()[1].shape, Shape{3});
  EXPECT_EQ(stored<std::int64_t>(*set, "label"),
            (std::vector<std::int64_t>{0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32}));
  EXPECT_FLOAT_EQ(stored<float>(*set, "image")[13], 13);
}

TEST_F(ForeignPairs, two_axes_of_samples_are_one_after_the_other) {
  EXPECT_EQ(run("hdf5", given({{"tensors", "[image=/x, label=/y]"}, {"sample_axes", "2"}, {"classes", "33"}}))
                .splits,
            (Splits{{"train", 12}}));
  const auto set = open("train");
  EXPECT_EQ(set->sample()[0].shape, (Shape{1, 2, 2})) << "a plane is a field of one channel";
  EXPECT_EQ(set->sample()[1].shape, Shape{});
  EXPECT_EQ(set->classes(), 33);
  EXPECT_EQ(stored<std::int64_t>(*set, "label")[7], 21);
}

TEST_F(ForeignPairs, places_and_fraction_held_back_become_validation_in_order) {
  EXPECT_EQ(run("hdf5", given({{"tensors", "[y=/y]"}, {"held_back", "[0]"}, {"validation_fraction", "0.3"}}))
                .splits,
            (Splits{{"train", 2}, {"validation", 2}}));
  EXPECT_EQ(stored<std::int64_t>(*open("train"), "y"), (std::vector<std::int64_t>{10, 11, 12, 20, 21, 22}));
  EXPECT_EQ(stored<std::int64_t>(*open("validation"), "y"), (std::vector<std::int64_t>{0, 1, 2, 30, 31, 32}));
}

TEST_F(ForeignPairs, statistics_are_of_the_training_places_per_channel) {
  (void)run("hdf5", given({{"tensors", "[image=/x]"}, {"held_back", "[3]"}}));
  double means[3] = {};
  const std::string text = open("validation")->fact("mean");
  ASSERT_EQ(std::sscanf(text.c_str(), "%lf, %lf, %lf", &means[0], &means[1], &means[2]), 3) << text;
  for (int channel = 0; channel < 3; ++channel) EXPECT_NEAR(means[channel], 12 + 1.5 + 4 * channel, 1e-12);
}

TEST_F(ForeignPairs, mappings_without_two_sides_and_scalars_are_refused) {
  for (const char* mapping : {"[=/x]", "[image=]", "[/x]"}) {
    const auto error = refused("hdf5", given({{"tensors", mapping}}));
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_TRUE(mentions(error, "does not map a tensor to a dataset")) << mapping;
  }
  EXPECT_TRUE(mentions(refused("hdf5", given({{"tensors", "[]"}})), "no tensors were named"));
  const auto scalar = refused("hdf5", given({{"tensors", "[a=/text]"}}));
  EXPECT_TRUE(mentions(scalar, "shape []") && mentions(scalar, "no 1 axes")) << scalar.what();
  EXPECT_TRUE(mentions(refused("hdf5", given({{"tensors", "[a=/y]"}, {"sample_axes", "3"}})), "no 3 axes"));
  EXPECT_TRUE(
      mentions(refused("hdf5", given({{"tensors", "[a=/y]"}, {"held_back", "[-1]"}})), "place -1 of 4"));
}

// ---- statistics

TEST(ChannelStatistics, match_a_plain_two_pass_computation) {
  ChannelStatistics statistics({"x", Dtype::f64, Shape{2, 3, 5}});
  std::vector<double> values(4 * 30);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i)) * 3 + 1;
  ASSERT_TRUE(statistics.add(reinterpret_cast<const std::byte*>(values.data()), 1));
  ASSERT_TRUE(statistics.add(reinterpret_cast<const std::byte*>(values.data() + 30), 3));
  for (std::size_t channel = 0; channel < 2; ++channel) {
    std::vector<double> own;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i / 15 % 2 == channel) own.push_back(values[i]);
    }
    double mean = 0, variance = 0;
    for (const double value : own) mean += value / 60;
    for (const double value : own) variance += (value - mean) * (value - mean) / 60;
    EXPECT_NEAR(statistics.mean()[channel], mean, 1e-12);
    EXPECT_NEAR(statistics.deviation()[channel], std::sqrt(variance), 1e-12);
  }
}

TEST(ChannelStatistics, samples_before_the_first_that_is_not_finite_count) {
  ChannelStatistics statistics({"x", Dtype::f32, Shape{2}});
  const std::vector<float> values{1, 3, 5, std::numeric_limits<float>::infinity(), 7, 7};
  EXPECT_FALSE(statistics.add(reinterpret_cast<const std::byte*>(values.data()), 3));
  EXPECT_EQ(statistics.mean(), std::vector<double>{2});
  EXPECT_EQ(statistics.deviation(), std::vector<double>{1});
}

TEST(ChannelStatistics, of_nothing_leave_values_as_they_are) {
  const ChannelStatistics statistics({"x", Dtype::u8, Shape{3, 2, 2}});
  EXPECT_EQ(statistics.mean(), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(statistics.deviation(), (std::vector<double>{1, 1, 1}));
}

// ---- packed files

TEST(BytesFile, gzip_of_two_members_and_xz_unpack_and_damage_is_named) {
  const TemporaryFolder folder;
  const std::string half(100'000, 'x');
  for (int member = 0; member < 2; ++member) {
    gzFile file = gzopen(folder.file("two.gz").c_str(), "ab");
    gzwrite(file, half.data(), static_cast<unsigned>(half.size()));
    gzclose(file);
  }
  EXPECT_EQ(read_text(folder.file("two.gz")), half + half);
  std::vector<std::uint8_t> packed(1000);
  std::size_t size = 0;
  ASSERT_EQ(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, nullptr,
                                    reinterpret_cast<const std::uint8_t*>(half.data()), half.size(),
                                    packed.data(), &size, packed.size()),
            LZMA_OK);
  const std::string xz(reinterpret_cast<const char*>(packed.data()), size);
  write_file(folder.file("a.xz"), xz);
  EXPECT_EQ(read_text(folder.file("a.xz")), half);
  write_file(folder.file("cut.xz"), xz.substr(0, size - 20));
  EXPECT_TRUE(mentions(error_of([&] { (void)read_bytes(folder.file("cut.xz")); }), "cut.xz"));
  std::filesystem::resize_file(folder.file("two.gz"), 150);
  EXPECT_TRUE(mentions(error_of([&] { (void)read_bytes(folder.file("two.gz")); }), "truncated gzip"));
  EXPECT_TRUE(mentions(error_of([&] { (void)read_bytes(folder.file("")); }), "folder"));
}

TEST(BytesFile, gzip_of_sizes_around_a_block_unpacks_whole) {
  const TemporaryFolder folder;
  constexpr std::size_t kBlock = 1 << 20;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, kBlock - 1, kBlock, kBlock + 1, 3 * kBlock}) {
    std::string bytes(size, 'a');
    for (std::size_t i = 0; i < size; i += 1009) bytes[i] = static_cast<char>(i % 251);
    write_gzip(folder.file("a.gz"), bytes);
    EXPECT_TRUE(read_text(folder.file("a.gz")) == bytes) << size;
  }
}

TEST(BytesFile, format_is_told_by_content_not_name) {
  const TemporaryFolder folder;
  write_file(folder.file("plain.gz"), "not packed at all");
  write_gzip(folder.file("packed.txt"), "packed");
  EXPECT_EQ(read_text(folder.file("plain.gz")), "not packed at all");
  EXPECT_EQ(read_text(folder.file("packed.txt")), "packed");
  EXPECT_TRUE(mentions(error_of([&] { (void)read_bytes(folder.file("absent")); }), "absent"));
}

TEST(BytesFile, one_flipped_byte_of_packed_data_is_noticed) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 3000; ++i) text += std::to_string(i * i);
  write_gzip(folder.file("a.gz"), text);
  std::ifstream file(folder.file("a.gz"), std::ios::binary);
  const std::string packed{std::istreambuf_iterator<char>(file), {}};
  int noticed = 0;
  int tried = 0;
  for (std::size_t at = 20; at < packed.size(); at += 97, ++tried) {
    std::string bad = packed;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    write_file(folder.file("bad.gz"), bad);
    noticed +=
        mentions(error_of([&] { (void)read_bytes(folder.file("bad.gz")); }), "damaged or truncated gzip") ? 1
                                                                                                          : 0;
  }
  EXPECT_GT(tried, 20);
  EXPECT_EQ(noticed, tried);
}

}  // namespace
}  // namespace lockstep::data
