// What data info prints about files of our own and of others.
#include <limits>

#include <gtest/gtest.h>

#include "data/info.h"
#include "hdf5_raw.h"

namespace lockstep::data {
namespace {

void expect_says(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(Info, our_own_file_shows_splits_tensors_filters_and_class_counts) {
  const TemporaryFolder folder;
  const auto text = describe_file(numbered_file(folder.file("a.h5"), 10, 0, {.chunk_rows = 4, .deflate = 6}));
  for (const char* part :
       {"@classes = 3", "/train/", "image  u8 [10, 1, 2, 2], chunks [4, 1, 2, 2], shuffle, deflate 6",
        "label  i32 [10]", "values 0 to 9", "classes 0: 4, 1: 3, 2: 3"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(Info, non_numbers_and_empty_datasets_are_named_not_read) {
  const TemporaryFolder folder;
  {
    auto file = Hdf5File::create(folder.file("a.h5"));
    put(file, "/nothing", Shape{0, 3}, std::vector<float>{}, {.chunk_rows = 2});
    file.set_attribute("/", "long", std::string(500, 'y'));
  }
  const auto text = describe_file(folder.file("a.h5"));
  EXPECT_NE(text.find("empty"), std::string::npos);
  EXPECT_NE(text.find("(500 characters)"), std::string::npos);
}

TEST(Info, sizes_ranges_and_layouts_of_every_kind_are_told) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  raw.put_numbers("plain", H5T_STD_I16BE, {2, 3}, {-5, 1, 2, 3, 4, 1000});
  raw.put_numbers("small", H5T_IEEE_F64LE, {2}, {0.125, 1e300},
                  [](hid_t id) { H5Pset_layout(id, H5D_COMPACT); });
  raw.put_numbers("checked", H5T_STD_U8LE, {4}, {1, 2, 3, 4},
                  chunks({2}, [](hid_t id) { H5Pset_fletcher32(id); }));
  raw.close();
  const auto text = describe_file(folder.file("a.h5"));
  expect_says(text, "plain  i16 big-endian [2, 3], contiguous, 12 B stored");
  expect_says(text, "values -5 to 1000");
  expect_says(text, "small  f64 [2], compact, 16 B stored");
  expect_says(text, "values 0.125 to 1e+300");
  expect_says(text, "checked  u8 [4], chunks [2], fletcher32,");
}

TEST(Info, classes_are_counted_over_blocks_and_only_when_few) {
  const TemporaryFolder folder;
  {
    auto file = Hdf5File::create(folder.file("a.h5"));
    for (const char* group : {"/few", "/many", "/other"}) file.make_group(group);
    std::vector<std::int32_t> few(1'200'000), many(100);  // more than one block of 4 MiB
    for (std::size_t i = 0; i < few.size(); ++i) few[i] = static_cast<std::int32_t>(i % 3) - 1;
    for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::int32_t>(i % 25);
    put(file, "/few/labels", Shape{1'200'000}, few, {.chunk_rows = 100'000, .deflate = 1});
    put(file, "/many/label", Shape{100}, many);
    put(file, "/other/label", Shape{3}, std::vector<float>{1, 2, 2});
  }
  const auto text = describe_file(folder.file("a.h5"));
  expect_says(text, "classes -1: 400000, 0: 400000, 1: 400000");
  EXPECT_EQ(text.find("0: 4,"), std::string::npos) << "25 classes are too many to list";
  EXPECT_EQ(text.find("1: 1,"), std::string::npos) << "fractions are no classes";
}

TEST(Info, data_outside_the_file_and_larger_sizes_are_told) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  const auto outside = folder.file("outside.bin");
  raw.put_numbers("far", H5T_STD_I32LE, {3}, {7, 8, 9},
                  [&](hid_t id) { H5Pset_external(id, outside.c_str(), 0, H5F_UNLIMITED); });
  raw.put_numbers("kilo", H5T_STD_U8LE, {20'000}, std::vector<double>(20'000, 1));
  raw.put_numbers("mega", H5T_IEEE_F64LE, {1'500'000}, std::vector<double>(1'500'000, 1));
  raw.close();
  const auto text = describe_file(folder.file("a.h5"));
  expect_says(text, "far  i32 [3], external or virtual, 12 B stored");
  expect_says(text, "values 7 to 9");
  expect_says(text, "kilo  u8 [20000], contiguous, 20.0 kB stored");
  expect_says(text, "mega  f64 [1500000], contiguous, 12.0 MB stored");
}

TEST(Info, nested_groups_and_their_attributes_are_indented) {
  const TemporaryFolder folder;
  {
    auto file = Hdf5File::create(folder.file("a.h5"));
    file.make_group("/a");
    file.make_group("/a/b");
    put(file, "/a/b/x", Shape{1}, std::vector<std::uint8_t>{7});
    file.set_attribute("/a/b", "note", std::string("two\nlines"));
    file.set_attribute("/a/b/x", "unit", std::string("K"));
  }
  expect_says(describe_file(folder.file("a.h5")),
              "  /a/\n"
              "    /a/b/\n"
              "      @note = two, lines\n"
              "      x  u8 [1], contiguous, 1 B stored\n"
              "        @unit = K\n"
              "        values 7 to 7\n");
}

TEST(Info, long_attributes_are_cut_at_a_hundred_characters) {
  const TemporaryFolder folder;
  {
    auto file = Hdf5File::create(folder.file("a.h5"));
    file.set_attribute("/", "fits", std::string(100, 'f'));
    file.set_attribute("/", "long", std::string(101, 'l'));
  }
  const auto text = describe_file(folder.file("a.h5"));
  expect_says(text, "@fits = " + std::string(100, 'f') + "\n");
  expect_says(text, "@long = " + std::string(97, 'l') + "... (101 characters)\n");
}

TEST(Info, file_that_is_none_is_refused_by_name) {
  const TemporaryFolder folder;
  for (const char* name : {"absent.h5", ""}) {
    EXPECT_EQ(error_of([&] { (void)describe_file(folder.file(name)); }).fault(), Fault::data);
  }
}

}  // namespace
}  // namespace lockstep::data
