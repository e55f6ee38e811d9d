// Importers: the official files give the known counts and values; wrong files are refused by name.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <numbers>

#include <gtest/gtest.h>
#include <lzma.h>
#include <zlib.h>

#include "data/bytes_file.h"
#include "data/tokenizer.h"
#include "data/tools.h"
#include "data_files.h"

namespace lockstep::data {
namespace {

using Given = std::vector<std::pair<std::string, std::string>>;

Written run(const std::string& name, const Given& given) {
  const auto& tool = tool_named(importers(), "importer", name);
  return tool.run(Options::of(tool.settings, given));
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// A YAML list of one text.
std::string list_of(const std::string& text) {
  std::string list(1, '[');
  list += text;
  return list += ']';
}

std::string shared(const std::string& name) { return std::string(LOCKSTEP_SHARED_DATA) + "/" + name; }

#define SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << (path)

std::string big_endian(std::int64_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

std::string idx_images(std::int64_t count, std::int64_t side) {
  std::string bytes("\0\0\x08\x03", 4);
  bytes += big_endian(count) + big_endian(side) + big_endian(side);
  for (std::int64_t i = 0; i < count * side * side; ++i) bytes += static_cast<char>(i);
  return bytes;
}

std::string idx_labels(const std::vector<int>& labels) {
  std::string bytes("\0\0\x08\x01", 4);
  bytes += big_endian(static_cast<std::int64_t>(labels.size()));
  for (const int label : labels) bytes += static_cast<char>(label);
  return bytes;
}

class IdxTest : public testing::Test {
 protected:
  IdxTest() {
    write_file(folder_.file("train-images-idx3-ubyte"), idx_images(4, 3));
    write_file(folder_.file("train-labels-idx1-ubyte"), idx_labels({0, 1, 2, 1}));
    write_file(folder_.file("t10k-images-idx3-ubyte"), idx_images(2, 3));
    write_file(folder_.file("t10k-labels-idx1-ubyte"), idx_labels({2, 0}));
  }
  [[nodiscard]] Given given() const {
    return {{"input", folder_.file("")}, {"output", folder_.file("out.h5")}};
  }
  TemporaryFolder folder_;
};

TEST_F(IdxTest, small_files_become_images_and_labels) {
  const auto written = run("idx", given());
  EXPECT_EQ(written.splits, (std::vector<std::pair<std::string, std::int64_t>>{{"train", 4}, {"test", 2}}));
  const auto set = open_hdf5({folder_.file("out.h5")}, "train");
  ASSERT_EQ(set->sample().size(), 2U);
  EXPECT_EQ(set->sample()[0].shape, (Shape{1, 3, 3}));
  EXPECT_EQ(set->classes(), 3);
  std::vector<std::uint8_t> pixels(18);
  std::vector<std::int32_t> labels(2);
  SampleBuffers into{
      {reinterpret_cast<std::byte*>(pixels.data()), reinterpret_cast<std::byte*>(labels.data())}};
  set->read(std::vector<std::int64_t>{3, 1}, into);
  EXPECT_EQ(pixels[0], 27);
  EXPECT_EQ(pixels[9], 9);
  EXPECT_EQ(labels, (std::vector<std::int32_t>{1, 1}));
}

TEST_F(IdxTest, image_and_label_counts_that_differ_are_refused_with_both) {
  write_file(folder_.file("t10k-labels-idx1-ubyte"), idx_labels({2, 0, 1}));
  const auto error = error_of([&] { (void)run("idx", given()); });
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "2 images") && mentions(error, "3 labels")) << error.what();
  EXPECT_FALSE(std::filesystem::exists(folder_.file("out.h5")));
}

TEST_F(IdxTest, truncated_foreign_and_missing_files_are_refused_by_name) {
  write_file(folder_.file("train-images-idx3-ubyte"), idx_images(4, 3).substr(0, 30));
  auto error = error_of([&] { (void)run("idx", given()); });
  EXPECT_TRUE(mentions(error, "train-images") && mentions(error, "36 bytes")) << error.what();
  write_file(folder_.file("train-images-idx3-ubyte"), "<html>not found</html>");
  error = error_of([&] { (void)run("idx", given()); });
  EXPECT_TRUE(mentions(error, "is not an IDX file")) << error.what();
  std::filesystem::remove(folder_.file("train-images-idx3-ubyte"));
  error = error_of([&] { (void)run("idx", given()); });
  EXPECT_TRUE(mentions(error, "no file 'train-images-idx3-ubyte'")) << error.what();
}

TEST_F(IdxTest, label_beyond_the_stated_classes_is_refused_and_leaves_no_file) {
  auto settings = given();
  settings.emplace_back("classes", "2");
  const auto error = error_of([&] { (void)run("idx", settings); });
  EXPECT_TRUE(mentions(error, "sample 2") && mentions(error, "label 2") && mentions(error, "2 classes"))
      << error.what();
  EXPECT_FALSE(std::filesystem::exists(folder_.file("out.h5")));
  EXPECT_FALSE(std::filesystem::exists(folder_.file("out.h5.partial")));
}

TEST(FashionMnist, official_files_give_60000_and_10000_with_known_sums) {
  SKIP_WITHOUT(shared("fashion-mnist"));
  const TemporaryFolder folder;
  const auto out = folder.file("fashion.h5");
  const auto written =
      run("idx", {{"input", shared("fashion-mnist")}, {"output", out}, {"compression", "1"}});
  EXPECT_EQ(written.splits,
            (std::vector<std::pair<std::string, std::int64_t>>{{"train", 60000}, {"test", 10000}}));
  const auto set = open_hdf5({out}, "train");
  EXPECT_EQ(set->classes(), 10);
  EXPECT_NEAR(std::stod(set->fact("mean")), 0.2860, 5e-5);  // as published for this data set
  EXPECT_NEAR(std::stod(set->fact("deviation")), 0.3530, 5e-5);
  std::vector<std::int32_t> labels(60000);
  std::vector<std::int64_t> all(60000);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  SampleBuffers into{{nullptr, reinterpret_cast<std::byte*>(labels.data())}};
  set->read(all, into);
  for (int label = 0; label < 10; ++label) EXPECT_EQ(std::ranges::count(labels, label), 6000);
  EXPECT_EQ(labels[0], 9);  // the first image is an ankle boot
}

std::string cifar_record(int label, int pixel) {
  return std::string(1, static_cast<char>(label)) + std::string(3072, static_cast<char>(pixel));
}

TEST(Cifar, records_become_images_also_when_packed) {
  const TemporaryFolder folder;
  write_file(folder.file("a.bin"), cifar_record(3, 10) + cifar_record(9, 20));
  const std::string test = cifar_record(0, 30);
  gzFile packed = gzopen(folder.file("t.bin.gz").c_str(), "wb");
  gzwrite(packed, test.data(), static_cast<unsigned>(test.size()));
  gzclose(packed);
  const auto written = run("cifar", {{"train", list_of(folder.file("*.bin"))},
                                     {"test", list_of(folder.file("t.bin.gz"))},
                                     {"output", folder.file("c.h5")}});
  EXPECT_EQ(written.splits, (std::vector<std::pair<std::string, std::int64_t>>{{"train", 2}, {"test", 1}}));
  const auto set = open_hdf5({folder.file("c.h5")}, "train");
  EXPECT_EQ(set->sample()[0].shape, (Shape{3, 32, 32}));
}

TEST(Cifar, broken_record_and_bad_label_are_refused) {
  const TemporaryFolder folder;
  write_file(folder.file("short.bin"), cifar_record(3, 10).substr(0, 3000));
  write_file(folder.file("label.bin"), cifar_record(10, 1));
  const auto import_train = [&](const std::string& name) {
    return error_of([&] {
      (void)run("cifar", {{"train", list_of(folder.file(name))},
                          {"test", list_of(folder.file(name))},
                          {"output", folder.file("c.h5")}});
    });
  };
  EXPECT_TRUE(mentions(import_train("short.bin"), "3000 bytes"));
  EXPECT_TRUE(mentions(import_train("label.bin"), "label 10"));
  EXPECT_TRUE(mentions(import_train("absent.bin"), "absent.bin"));
}

TEST(Cifar, shared_test_records_have_the_published_shape) {
  SKIP_WITHOUT(shared("cifar10"));
  const TemporaryFolder folder;
  const auto test = list_of(shared("cifar10/dev_test.bin.xz"));
  const auto written = run("cifar", {{"train", test},
                                     {"test", test},
                                     {"class_names", shared("cifar10/classes.txt")},
                                     {"compression", "0"},
                                     {"output", folder.file("c.h5")}});
  EXPECT_EQ(written.splits.front().second, 4000);
  const auto set = open_hdf5({folder.file("c.h5")}, "test");
  EXPECT_TRUE(set->fact("class_names").starts_with("airplane\nautomobile"));
  double red = 0, green = 0, blue = 0;
  ASSERT_EQ(std::sscanf(set->fact("mean").c_str(), "%lf, %lf, %lf", &red, &green, &blue), 3);
  EXPECT_NEAR(red, 0.4914, 0.01);  // the published training mean
  EXPECT_NEAR(green, 0.4822, 0.01);
  EXPECT_NEAR(blue, 0.4465, 0.01);
}

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

TEST(Text, tinyshakespeare_has_65_characters_and_the_known_bpe_tokens) {
  SKIP_WITHOUT(shared("tinyshakespeare"));
  const TemporaryFolder folder;
  const auto input = list_of(shared("tinyshakespeare/input.txt"));
  (void)run("text", {{"input", input}, {"output", folder.file("c.h5")}});
  const auto characters = open_hdf5({folder.file("c.h5")}, "train");
  EXPECT_EQ(characters->classes(), 65);
  EXPECT_EQ(characters->size(), 1003854);
  const auto bpe = run("text", {{"input", input},
                                {"tokenizer", "gpt2"},
                                {"encoder", shared("gpt2-bpe/encoder.json")},
                                {"vocabulary", shared("gpt2-bpe/vocab.bpe")},
                                {"output", folder.file("b.h5")}});
  EXPECT_EQ(bpe.splits,
            (std::vector<std::pair<std::string, std::int64_t>>{{"train", 301966}, {"validation", 36059}}));
  const auto raw = run("tokens", {{"train", list_of(shared("tinyshakespeare/train_gpt2_u16.bin"))},
                                  {"validation", list_of(shared("tinyshakespeare/val_gpt2_u16.bin"))},
                                  {"output", folder.file("r.h5")}});
  EXPECT_EQ(raw.splits, bpe.splits);
  const auto ours = open_hdf5({folder.file("b.h5")}, "train");
  const auto theirs = open_hdf5({folder.file("r.h5")}, "train");
  std::vector<std::uint16_t> a(301966), b(301966);
  std::vector<std::int64_t> all(301966);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  SampleBuffers into_a{{reinterpret_cast<std::byte*>(a.data())}};
  SampleBuffers into_b{{reinterpret_cast<std::byte*>(b.data())}};
  ours->read(all, into_a);
  theirs->read(all, into_b);
  EXPECT_EQ(a, b);
  EXPECT_EQ(tokenizer_from_text(ours->fact("tokenizer"))->vocabulary_size(), 50257);
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

TEST(Climate, temperatures_become_pairs_for_super_resolution) {
  SKIP_WITHOUT(shared("climate/trefht_dev.h5"));
  const TemporaryFolder folder;
  const auto written = run("hdf5", {{"input", shared("climate/trefht_dev.h5")},
                                    {"tensors", "[field=/trefht]"},
                                    {"sample_axes", "2"},
                                    {"held_back", "[3]"},
                                    {"compression", "1"},
                                    {"output", folder.file("climate.h5")}});
  EXPECT_EQ(written.splits,
            (std::vector<std::pair<std::string, std::int64_t>>{{"train", 330}, {"validation", 110}}));
  const auto set = open_hdf5({folder.file("climate.h5")}, "validation");
  const auto settings =
      loader_options({{"downsample", "4"}, {"upsample", "bilinear"}, {"normalise", "false"}});
  const auto loader = make_loader(*set, settings, {.microbatch = 10, .train = false});
  EXPECT_EQ(loader->spec().input, (Shape{1, 64, 128}));
  // The published error weighs cells by their area: the cosine of the latitude.
  double squares = 0;
  double weights = 0;
  for (std::int64_t step = 0; step < loader->spec().steps_per_epoch; ++step) {
    const auto& batch = loader->next();
    const auto* input = static_cast<const float*>(batch.input);
    const auto* target = static_cast<const float*>(batch.target);
    for (std::int64_t i = 0; i < batch.rows * 64 * 128; ++i) {
      const double row = static_cast<double>(i / 128 % 64);
      const double weight = std::sin((row + 0.5) / 64 * std::numbers::pi);
      squares += weight * static_cast<double>((input[i] - target[i]) * (input[i] - target[i]));
      weights += weight;
    }
  }
  EXPECT_NEAR(std::sqrt(squares / weights), 1.69, 0.02);  // published for bilinear
}

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

TEST(Tools, every_row_has_a_summary_settings_and_an_output) {
  for (const auto tools : {importers(), generators()}) {
    for (const auto& tool : tools) {
      EXPECT_FALSE(tool.summary.empty()) << tool.name;
      EXPECT_TRUE(
          std::ranges::any_of(tool.settings, [](const Setting& each) { return each.key == "output"; }));
      EXPECT_NE(tool.run, nullptr);
    }
  }
  EXPECT_EQ(importers().size(), 6U);
}

}  // namespace
}  // namespace lockstep::data
