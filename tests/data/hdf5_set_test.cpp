// Data sets of HDF5 files: choice of the split, facts of group and file, many files as one set, and sets that
// are refused.
#include <algorithm>
#include <array>
#include <numeric>

#include <gtest/gtest.h>

#include "core/random.h"
#include "data_files.h"

namespace lockstep::data {
namespace {

std::vector<std::int64_t> counted(std::int64_t count) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

/// The values of an i32 tensor of scalars.
std::vector<std::int32_t> values_of(const Dataset& set, const std::vector<std::int64_t>& indices,
                                    std::size_t tensor = 0) {
  std::vector<std::int32_t> values(indices.size(), -1);
  SampleBuffers into{std::vector<std::byte*>(set.sample().size(), nullptr)};
  into.tensors[tensor] = reinterpret_cast<std::byte*>(values.data());
  set.read(indices, into);
  return values;
}

/// A file whose group `group` has "x" i32 [] = first, first + 1, ...
std::string counting_file(const std::string& path, const std::string& group, std::int32_t first,
                          std::int64_t count, const Hdf5Creation& how = {}) {
  auto file = Hdf5File::create(path);
  for (std::size_t at = group.find('/', 1); group != "/"; at = group.find('/', at + 1)) {
    file.make_group(group.substr(0, at));
    if (at == std::string::npos) break;
  }
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), first);
  put(file, (group == "/" ? "" : group) + "/x", Shape{count}, values, how);
  file.flush();
  return path;
}

TEST(HdfSet, split_may_be_the_top_a_group_or_a_group_within) {
  const TemporaryFolder folder;
  for (const auto& [group, names] : {std::pair<std::string, std::vector<std::string>>{"/", {"/", ""}},
                                     {"/train", {"train", "/train"}},
                                     {"/fold/test", {"fold/test", "/fold/test"}}}) {
    const auto path = counting_file(folder.file("a.h5"), group, 5, 3);
    for (const auto& name : names) {
      EXPECT_EQ(values_of(*open_hdf5({path}, name), {2, 0}), (std::vector<std::int32_t>{7, 5})) << name;
    }
  }
}

TEST(HdfSet, facts_of_the_split_win_over_those_of_the_file) {
  const TemporaryFolder folder;
  const auto path = counting_file(folder.file("a.h5"), "/train", 0, 3);
  {
    auto file = Hdf5File::edit(path);
    file.set_attribute("/", "classes", std::int64_t{9});
    file.set_attribute("/", "source", std::string("everywhere"));
    file.set_attribute("/train", "classes", std::int64_t{4});
  }
  const auto set = open_hdf5({path}, "train");
  EXPECT_EQ(set->fact("classes"), "4");
  EXPECT_EQ(set->classes(), 4);
  EXPECT_EQ(set->fact("source"), "everywhere");
  EXPECT_EQ(set->fact("absent"), "");
}

TEST(HdfSet, classes_come_from_the_names_when_no_number_is_stated) {
  const TemporaryFolder folder;
  const auto path = counting_file(folder.file("a.h5"), "/train", 0, 3);
  EXPECT_EQ(open_hdf5({path}, "train")->classes(), 0);
  Hdf5File::edit(path).set_attribute("/", "class_names", std::string("cat\ndog\nemu"));
  EXPECT_EQ(open_hdf5({path}, "train")->classes(), 3);
}

TEST(HdfSet, tensors_come_in_the_order_of_their_names_with_dtype_and_shape) {
  const TemporaryFolder folder;
  {
    auto file = Hdf5File::create(folder.file("a.h5"));
    file.make_group("/train");
    put(file, "/train/zeta", Shape{2, 3}, std::vector<double>(6));
    put(file, "/train/alpha", Shape{2}, std::vector<std::uint16_t>(2));
    put(file, "/train/mid", Shape{2, 1, 4}, std::vector<F16>(8));
  }
  const auto set = open_hdf5({folder.file("a.h5")}, "train");
  ASSERT_EQ(set->sample().size(), 3U);
  EXPECT_EQ(set->sample()[0].name, "alpha");
  EXPECT_EQ(set->sample()[0].shape, Shape{});
  EXPECT_EQ(set->sample()[0].bytes(), 2U);
  EXPECT_EQ(set->sample()[1].dtype, Dtype::f16);
  EXPECT_EQ(set->sample()[1].shape, (Shape{1, 4}));
  EXPECT_EQ(set->sample()[2].bytes(), 24U);
}

TEST(HdfSet, random_order_with_repeats_over_many_files_and_any_cache_reads_what_was_stored) {
  const TemporaryFolder folder;
  std::vector<std::string> files;
  std::int32_t first = 0;
  for (const std::int64_t count : {7, 1, 13, 30, 2}) {  // contiguous, chunked and packed files in one set
    const Hdf5Creation how{.chunk_rows = first % 3 * 4, .deflate = first % 2 * 3};
    files.push_back(counting_file(folder.file(std::to_string(first) + ".h5"), "/train", first, count, how));
    first += static_cast<std::int32_t>(count);
  }
  const RandomSource random(3, "order", 0);
  std::vector<std::int64_t> indices;
  for (std::uint64_t draw = 0; draw < 500; ++draw)
    indices.push_back(static_cast<std::int64_t>(random.below(draw, 53)));
  const std::vector<std::int32_t> expected(indices.begin(), indices.end());
  for (const std::size_t cache : {std::size_t{0}, std::size_t{64}, kDefaultCacheBytes}) {
    const auto set = open_hdf5(files, "train", cache);
    EXPECT_EQ(set->size(), 53);
    EXPECT_EQ(values_of(*set, indices), expected) << cache;
    EXPECT_EQ(values_of(*set, counted(53)).back(), 52);
  }
}

TEST(HdfSet, files_keep_the_order_in_which_they_were_given_and_tile_the_set) {
  const TemporaryFolder folder;
  const auto a = counting_file(folder.file("a.h5"), "/train", 0, 4);
  const auto b = counting_file(folder.file("b.h5"), "/train", 100, 3);
  const auto set = open_hdf5({b, a}, "train");
  EXPECT_EQ(values_of(*set, counted(7)), (std::vector<std::int32_t>{100, 101, 102, 0, 1, 2, 3}));
  ASSERT_EQ(set->files().size(), 2U);
  EXPECT_EQ(set->files()[0].path, b);
  EXPECT_EQ(set->files()[1].first, 3);
  EXPECT_EQ(set->files()[1].count, 4);
  EXPECT_NE(set->where(3).find("a.h5', sample 0 of split 'train'"), std::string::npos) << set->where(3);
}

TEST(HdfSet, sample_outside_the_set_is_our_own_mistake) {
  const TemporaryFolder folder;
  const auto set = open_hdf5({counting_file(folder.file("a.h5"), "/train", 0, 4)}, "train");
  for (const std::int64_t index : {-1, 4}) {
    const auto error = error_of([&] { (void)values_of(*set, {index}); });
    EXPECT_EQ(error.fault(), Fault::internal);
    EXPECT_TRUE(mentions(error, "of a set of 4")) << error.what();
  }
  EXPECT_EQ(error_of([&] { (void)set->where(4); }).fault(), Fault::internal);
  EXPECT_TRUE(values_of(*set, {}).empty());
}

TEST(HdfSet, skipped_tensors_stay_unread) {
  const TemporaryFolder folder;
  const auto set = open_hdf5({numbered_file(folder.file("a.h5"), 10)}, "train");
  EXPECT_EQ(values_of(*set, {4, 5}, 1), (std::vector<std::int32_t>{1, 2}));
  SampleBuffers nothing{{nullptr, nullptr}};
  EXPECT_NO_THROW(set->read(std::vector<std::int64_t>{0, 9}, nothing));
}

TEST(HdfSet, group_without_datasets_is_refused_by_name) {
  const TemporaryFolder folder;
  {
    auto file = Hdf5File::create(folder.file("a.h5"));
    file.make_group("/train");
    file.make_group("/train/deeper");
  }
  const auto error = error_of([&] { (void)open_hdf5({folder.file("a.h5")}, "train"); });
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "split 'train' of") && mentions(error, "no datasets")) << error.what();
}

TEST(HdfSet, dataset_where_a_group_is_expected_is_no_split) {
  const TemporaryFolder folder;
  const auto path = counting_file(folder.file("a.h5"), "/", 0, 3);
  const auto error = error_of([&] { (void)open_hdf5({path}, "x"); });
  EXPECT_TRUE(mentions(error, "no split 'x'") && mentions(error, "none")) << error.what();
  EXPECT_NE(error.hint().find("'/'"), std::string::npos);
}

TEST(HdfSet, other_dtype_or_shape_in_a_later_file_is_refused_with_both_files) {
  const TemporaryFolder folder;
  const auto a = counting_file(folder.file("a.h5"), "/train", 0, 3);
  const auto make = [&](const char* name, const auto& values, const Shape& shape) {
    auto file = Hdf5File::create(folder.file(name));
    file.make_group("/train");
    put(file, "/train/x", shape, values);
    return folder.file(name);
  };
  for (const auto& b : {make("dtype.h5", std::vector<float>(3), Shape{3}),
                        make("shape.h5", std::vector<std::int32_t>(6), Shape{3, 2})}) {
    const auto error = error_of([&] { (void)open_hdf5({a, b}, "train"); });
    EXPECT_TRUE(mentions(error, "a.h5") && mentions(error, b) && mentions(error, "different tensors"))
        << error.what();
  }
}

TEST(HdfSet, missing_file_in_a_list_is_named) {
  const TemporaryFolder folder;
  const auto a = counting_file(folder.file("a.h5"), "/train", 0, 3);
  const auto error = error_of([&] { (void)open_hdf5({a, folder.file("lost.h5")}, "train"); });
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "lost.h5")) << error.what();
}

TEST(Globs, names_with_stars_are_sorted_and_plain_names_keep_their_place) {
  const TemporaryFolder folder;
  for (const char* name : {"b2", "b10", "b1", "a"}) counting_file(folder.file(name), "/", 0, 1);
  EXPECT_EQ(
      expand_globs({folder.file("b*"), folder.file("a")}),
      (std::vector<std::string>{folder.file("b1"), folder.file("b10"), folder.file("b2"), folder.file("a")}));
  counting_file(folder.file("odd[1]"), "/", 0, 1);  // a name that is a pattern, but exists
  EXPECT_EQ(expand_globs({folder.file("odd[1]")}), std::vector<std::string>{folder.file("odd[1]")});
  EXPECT_TRUE(expand_globs({}).empty());
}

TEST(HdfFile, growing_dataset_keeps_its_rows_and_fixed_one_refuses) {
  const TemporaryFolder folder;
  auto file = Hdf5File::create(folder.file("a.h5"));
  auto growing = file.make_dataset("/g", Dtype::i32, Shape{0, 2}, {.chunk_rows = 3, .deflate = 1});
  for (std::int32_t row = 0; row < 7; ++row) {
    std::vector<std::int32_t> values{row, -row};
    growing.write_rows(row, 1, flat(std::span<std::int32_t>(values)));
  }
  EXPECT_EQ(file.dataset("/g").storage().shape, (Shape{7, 2}));
  std::vector<std::int32_t> back(14);
  file.dataset("/g").read(flat(std::span<std::int32_t>(back)));
  EXPECT_EQ(back[12], 6);
  EXPECT_EQ(back[13], -6);
  auto fixed = file.make_dataset("/f", Dtype::i32, Shape{2});
  std::vector<std::int32_t> three(3);
  EXPECT_EQ(error_of([&] { fixed.write_rows(0, 3, flat(std::span<std::int32_t>(three))); }).fault(),
            Fault::data);
}

TEST(HdfFile, what_exists_already_or_has_no_parent_cannot_be_made) {
  const TemporaryFolder folder;
  auto file = Hdf5File::create(folder.file("a.h5"));
  file.make_group("/g");
  (void)file.make_dataset("/x", Dtype::f32, Shape{1});
  EXPECT_TRUE(mentions(error_of([&] { file.make_group("/g"); }), "make group '/g'"));
  EXPECT_TRUE(mentions(error_of([&] { file.make_group("/no/such"); }), "'/no/such'"));
  EXPECT_TRUE(
      mentions(error_of([&] { (void)file.make_dataset("/x", Dtype::f32, Shape{1}); }), "make dataset '/x'"));
  EXPECT_TRUE(
      mentions(error_of([&] { file.set_attribute("/absent", "key", std::int64_t{1}); }), "/absent/key"));
}

TEST(HdfFile, file_opened_for_reading_cannot_be_written) {
  const TemporaryFolder folder;
  auto file = Hdf5File::open(counting_file(folder.file("a.h5"), "/", 0, 3));
  EXPECT_EQ(error_of([&] { file.make_group("/g"); }).fault(), Fault::data);
  EXPECT_EQ(error_of([&] { file.set_attribute("/", "key", std::int64_t{1}); }).fault(), Fault::data);
}

}  // namespace
}  // namespace lockstep::data
