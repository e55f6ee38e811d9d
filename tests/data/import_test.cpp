// Importers on the official files: the known counts, means and values come out.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>

#include <gtest/gtest.h>

#include "data/tokenizer.h"
#include "imports.h"

namespace lockstep::data {
namespace {

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
