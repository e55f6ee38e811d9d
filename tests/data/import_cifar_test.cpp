// CIFAR records: what small exact ones become, and every way in which they are refused.
#include <gtest/gtest.h>

#include "imports.h"

namespace lockstep::data {
namespace {

std::string cifar_record(int label, int pixel) {
  return std::string(1, static_cast<char>(label)) + std::string(3072, static_cast<char>(pixel));
}

TEST(Cifar, records_become_images_also_when_packed) {
  const TemporaryFolder folder;
  write_file(folder.file("a.bin"), cifar_record(3, 10) + cifar_record(9, 20));
  const std::string test = cifar_record(0, 30);
  write_gzip(folder.file("t.bin.gz"), test);
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

/// A CIFAR-100 record: coarse label, fine label, pixels counted from `first`.
std::string fine_record(int coarse, int fine, int first) {
  std::string record{static_cast<char>(coarse), static_cast<char>(fine)};
  for (int i = 0; i < 3072; ++i) record += static_cast<char>(first + i);
  return record;
}

Given cifar_settings(const TemporaryFolder& folder, const std::string& train, const std::string& test) {
  return {{"train", list_of(folder.file(train))},
          {"test", list_of(folder.file(test))},
          {"output", folder.file("c.h5")}};
}

TEST(Cifar, planes_and_labels_are_stored_byte_for_byte) {
  const TemporaryFolder folder;
  write_file(folder.file("a.bin"), cifar_record(3, 10) + cifar_record(9, 255));
  (void)run("cifar", cifar_settings(folder, "a.bin", "a.bin"));
  const auto set = open_hdf5({folder.file("c.h5")}, "test");
  const auto pixels = stored<std::uint8_t>(*set, "image");
  EXPECT_EQ(pixels.front(), 10);
  EXPECT_EQ(pixels[3071], 10);
  EXPECT_EQ(pixels[3072], 255);
  EXPECT_EQ(stored<std::int32_t>(*set, "label"), (std::vector<std::int32_t>{3, 9}));
  EXPECT_EQ(set->classes(), 10);
}

TEST(Cifar, files_of_a_glob_are_joined_in_order_of_their_names) {
  const TemporaryFolder folder;
  write_file(folder.file("batch_2.bin"), cifar_record(2, 1));
  write_file(folder.file("batch_1.bin"), cifar_record(1, 1) + cifar_record(0, 1));
  (void)run("cifar", cifar_settings(folder, "batch_*.bin", "batch_2.bin"));
  EXPECT_EQ(stored<std::int32_t>(*open_hdf5({folder.file("c.h5")}, "train"), "label"),
            (std::vector<std::int32_t>{1, 0, 2}));
}

TEST(Cifar, hundred_classes_take_the_fine_label) {
  const TemporaryFolder folder;
  write_file(folder.file("a.bin"), fine_record(19, 99, 0) + fine_record(3, 0, 5));
  const auto settings = with(cifar_settings(folder, "a.bin", "a.bin"), {{"variant", "cifar100"}});
  EXPECT_EQ(run("cifar", settings).splits, (Splits{{"train", 2}, {"test", 2}}));
  const auto set = open_hdf5({folder.file("c.h5")}, "train");
  EXPECT_EQ(set->classes(), 100);
  EXPECT_EQ(stored<std::int32_t>(*set, "label"), (std::vector<std::int32_t>{99, 0}));
  const auto pixels = stored<std::uint8_t>(*set, "image");
  EXPECT_EQ(pixels[0], 0);
  EXPECT_EQ(pixels[3072 + 7], 12);
}

TEST(Cifar, statistics_are_per_plane_of_the_training_records) {
  const TemporaryFolder folder;
  std::string record(1, '\0');
  for (const int value : {51, 102, 0}) {  // red, green and blue planes of one value each
    record += std::string(512, static_cast<char>(value)) + std::string(512, static_cast<char>(value * 2));
  }
  write_file(folder.file("a.bin"), record);
  write_file(folder.file("t.bin"), cifar_record(1, 200));
  (void)run("cifar", cifar_settings(folder, "a.bin", "t.bin"));
  double mean[3], deviation[3];
  const auto set = open_hdf5({folder.file("c.h5")}, "train");
  ASSERT_EQ(std::sscanf(set->fact("mean").c_str(), "%lf, %lf, %lf", &mean[0], &mean[1], &mean[2]), 3);
  ASSERT_EQ(std::sscanf(set->fact("deviation").c_str(), "%lf, %lf, %lf", &deviation[0], &deviation[1],
                        &deviation[2]),
            3);
  EXPECT_NEAR(mean[0], 0.3, 1e-12);
  EXPECT_NEAR(mean[1], 0.6, 1e-12);
  EXPECT_EQ(mean[2], 0);
  EXPECT_NEAR(deviation[0], 0.1, 1e-9);
  EXPECT_NEAR(deviation[1], 0.2, 1e-9);
  EXPECT_EQ(deviation[2], 1) << "a constant plane is not divided by zero";
}

TEST(Cifar, names_come_from_a_file_of_any_line_ends) {
  const TemporaryFolder folder;
  write_file(folder.file("a.bin"), cifar_record(3, 10));
  std::string names, expected;
  for (int i = 0; i < 10; ++i) {
    names += "class " + std::to_string(i) + (i % 2 == 0 ? "\r\n" : "\n\n");
    expected += (i > 0 ? "\n" : "") + ("class " + std::to_string(i));
  }
  write_file(folder.file("names.txt"), names);
  const auto settings =
      with(cifar_settings(folder, "a.bin", "a.bin"), {{"class_names", folder.file("names.txt")}});
  (void)run("cifar", settings);
  EXPECT_EQ(open_hdf5({folder.file("c.h5")}, "train")->fact("class_names"), expected);
  std::filesystem::remove(folder.file("c.h5"));
  write_file(folder.file("names.txt"), "one\ntwo");
  EXPECT_TRUE(mentions(refused("cifar", settings), "2 class names for 10 classes"));
}

TEST(Cifar, variant_of_the_other_record_size_is_refused_with_the_cure) {
  const TemporaryFolder folder;
  write_file(folder.file("a.bin"), fine_record(19, 99, 0));
  const auto error = refused("cifar", cifar_settings(folder, "a.bin", "a.bin"));
  EXPECT_TRUE(mentions(error, "3074 bytes") && mentions(error, "records of 3073")) << error.what();
  EXPECT_NE(error.hint().find("cifar100"), std::string::npos);
}

TEST(Cifar, empty_files_and_empty_lists_are_refused) {
  const TemporaryFolder folder;
  write_file(folder.file("a.bin"), cifar_record(3, 10));
  write_file(folder.file("none.bin"), "");
  EXPECT_TRUE(
      mentions(refused("cifar", cifar_settings(folder, "none.bin", "a.bin")), "none.bin' holds 0 bytes"));
  const auto error = refused(
      "cifar", {{"train", list_of(folder.file("a.bin"))}, {"test", "[]"}, {"output", folder.file("c.h5")}});
  EXPECT_TRUE(mentions(error, "'test'") && mentions(error, "no samples")) << error.what();
}

TEST(Cifar, label_of_a_fine_record_beyond_a_hundred_is_refused_with_its_sample) {
  const TemporaryFolder folder;
  write_file(folder.file("a.bin"), fine_record(1, 99, 0) + fine_record(1, 100, 0));
  const auto error =
      refused("cifar", with(cifar_settings(folder, "a.bin", "a.bin"), {{"variant", "cifar100"}}));
  EXPECT_TRUE(mentions(error, "sample 1 of") && mentions(error, "label 100") && mentions(error, "0 to 99"))
      << error.what();
}

}  // namespace
}  // namespace lockstep::data
