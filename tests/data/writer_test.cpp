// The writer: a set appears whole or not at all, in one file or many, with its facts and the storage asked
// for.
#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <numeric>

#include <sys/resource.h>

#include <gtest/gtest.h>

#include "data/tools.h"
#include "data/writer.h"
#include "imports.h"

namespace lockstep::data {
namespace {

/// Appends first, first + 1, ... to a split of i32 scalars.
void append_counted(SetWriter& writer, std::int32_t first, std::int64_t count) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), first);
  const std::array<const std::byte*, 1> block{bytes_of(values)};
  writer.append(count, block);
}

const std::vector<TensorSpec> kScalars{{"x", Dtype::i32, Shape{}}};

TEST(SetWriter, many_files_hold_every_sample_once_and_all_the_facts) {
  const TemporaryFolder folder;
  SetWriter writer({.path = folder.file("set.h5"), .samples_per_file = 4});
  writer.begin_split("train", {{"x", Dtype::i32, Shape{}}});
  std::vector<std::int32_t> values(11);
  std::iota(values.begin(), values.end(), 0);
  const std::array<const std::byte*, 1> block{bytes_of(values)};
  writer.append(11, block);
  writer.fact("classes", std::int64_t{11});
  const auto written = writer.finish();
  EXPECT_EQ(written.files.size(), 3U);
  const auto set = open_hdf5({folder.file("set-train-*.h5")}, "train");
  std::vector<std::int32_t> back(11);
  std::vector<std::int64_t> all(11);
  std::iota(all.begin(), all.end(), 0);
  SampleBuffers into{{reinterpret_cast<std::byte*>(back.data())}};
  set->read(all, into);
  EXPECT_EQ(back, values);
  for (const auto& path : written.files) EXPECT_EQ(Hdf5File::open(path).attribute("/", "classes"), "11");
}

TEST(SetWriter, unfinished_set_leaves_nothing_and_an_old_one_stays) {
  const TemporaryFolder folder;
  numbered_file(folder.file("set.h5"), 3);
  {
    SetWriter writer({.path = folder.file("set.h5")});
    writer.begin_split("train", {{"x", Dtype::i32, Shape{}}});
  }
  EXPECT_EQ(open_hdf5({folder.file("set.h5")}, "train")->size(), 3);
  EXPECT_FALSE(std::filesystem::exists(folder.file("set.h5.partial")));
}

/// Writes 4 MiB while no file of this process may grow beyond 64 KiB, as on a full disk.
Error write_to_a_full_disk(const std::string& path) {
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1 << 16, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const auto error = error_of([&] {
    SetWriter writer({.path = path, .deflate = 0});
    writer.begin_split("train", {{"x", Dtype::f32, Shape{1024}}});
    const std::vector<float> values(1024 * 1024, 1.5F);
    const std::array<const std::byte*, 1> block{bytes_of(values)};
    writer.append(1024, block);
    (void)writer.finish();
  });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  return error;
}

TEST(SetWriter, full_disk_is_an_error_and_leaves_nothing) {
  const TemporaryFolder folder;
  const auto error = write_to_a_full_disk(folder.file("set.h5"));
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "set.h5")) << error.what();
  EXPECT_FALSE(std::filesystem::exists(folder.file("set.h5")));
  EXPECT_FALSE(std::filesystem::exists(folder.file("set.h5.partial")));
}

/// What a process does whose first act on HDF5 opens a file, as a training does, and whose disk fills later.
[[noreturn]] void open_then_fill_the_disk(const std::string& there, const std::string& path) {
  const bool opened = Hdf5File::open(there).has_group("/train");
  const auto error = write_to_a_full_disk(path);
  std::exit(opened && error.fault() == Fault::data ? 0 : 1);
}

TEST(FullDisk, program_still_exits_as_it_means_to_whatever_its_first_act_on_the_library_was) {
  const TemporaryFolder folder;
  // The child comes through here again, and must find the file made: its first act is to open it.
  const auto there = testing::TempDir() + "/lockstep-first-act.h5";
  if (!std::filesystem::exists(there)) numbered_file(there, 3);
  testing::FLAGS_gtest_death_test_style =
      "threadsafe";  // a child that starts anew, not a copy of this process
  EXPECT_EXIT(open_then_fill_the_disk(there, folder.file("set.h5")), testing::ExitedWithCode(0), "");
  std::filesystem::remove(there);
}

TEST(SetWriter, appends_of_any_size_give_the_same_files) {
  const TemporaryFolder folder;
  for (const std::int64_t per_file : {1, 3, 5, 17, 100}) {
    for (const std::int64_t block : {1, 2, 7, 17}) {
      SetWriter writer({.path = folder.file("set.h5"), .chunk_samples = 2, .samples_per_file = per_file});
      writer.begin_split("train", kScalars);
      for (std::int64_t first = 0; first < 17; first += block) {
        append_counted(writer, static_cast<std::int32_t>(first), std::min<std::int64_t>(block, 17 - first));
      }
      const auto written = writer.finish();
      EXPECT_EQ(written.splits, (Splits{{"train", 17}}));
      EXPECT_EQ(static_cast<std::int64_t>(written.files.size()), (17 + per_file - 1) / per_file);
      std::vector<std::int32_t> expected(17);
      std::iota(expected.begin(), expected.end(), 0);
      EXPECT_EQ(stored<std::int32_t>(*open_hdf5(written.files, "train"), "x"), expected)
          << per_file << " " << block;
      for (const auto& file : written.files) std::filesystem::remove(file);
    }
  }
}

TEST(SetWriter, each_split_has_files_numbered_from_zero) {
  const TemporaryFolder folder;
  SetWriter writer({.path = folder.file("deep/er/set"), .samples_per_file = 2});
  for (const char* split : {"train", "test"}) {
    writer.begin_split(split, kScalars);
    append_counted(writer, 0, 3);
  }
  std::vector<std::string> expected;
  for (const char* name : {"train-00000", "train-00001", "test-00000", "test-00001"}) {
    expected.push_back(folder.file("deep/er/set-") + name + ".h5");
  }
  EXPECT_EQ(writer.finish().files, expected);
  for (const auto& file : expected) EXPECT_TRUE(std::filesystem::exists(file)) << file;
  EXPECT_EQ(open_hdf5({folder.file("deep/er/*.h5")}, "test")->size(), 3);
}

TEST(SetWriter, splits_of_one_file_may_have_other_tensors) {
  const TemporaryFolder folder;
  SetWriter writer({.path = folder.file("set.h5")});
  writer.begin_split("a", kScalars);
  append_counted(writer, 5, 2);
  writer.begin_split("b", {{"y", Dtype::f64, Shape{2}}});
  const std::vector<double> values{0.5, 1.5, 2.5, 3.5};
  const std::array<const std::byte*, 1> block{bytes_of(values)};
  writer.append(2, block);
  EXPECT_EQ(writer.finish().splits, (Splits{{"a", 2}, {"b", 2}}));
  EXPECT_EQ(stored<double>(*open_hdf5({folder.file("set.h5")}, "b"), "y"), values);
  EXPECT_EQ(stored<std::int32_t>(*open_hdf5({folder.file("set.h5")}, "a"), "x"),
            (std::vector<std::int32_t>{5, 6}));
}

TEST(SetWriter, storage_is_what_was_asked_for) {
  const TemporaryFolder folder;
  const auto storage = [&](const WriterOptions& options, const Shape& shape) {
    SetWriter writer(options);
    writer.begin_split("train", {{"x", Dtype::f32, shape}});
    const std::vector<float> values(static_cast<std::size_t>(shape.count()), 1);
    const std::array<const std::byte*, 1> block{bytes_of(values)};
    writer.append(1, block);
    (void)writer.finish();
    return Hdf5File::open(options.path).dataset("/train/x").storage();
  };
  const auto path = folder.file("set.h5");
  const auto packed = storage({.path = path, .deflate = 7, .chunk_samples = 3}, Shape{4});
  EXPECT_EQ(packed.chunk, (Shape{3, 4}));
  ASSERT_EQ(packed.filters.size(), 2U);
  EXPECT_EQ(packed.filters[1].name, "deflate 7");
  EXPECT_TRUE(storage({.path = path, .deflate = 0}, Shape{4}).filters.empty());
  EXPECT_EQ(storage({.path = path}, Shape{1024}).chunk[0], 16) << "64 KiB together";
  EXPECT_EQ(storage({.path = path}, Shape{65536}).chunk[0], 1) << "a large sample is a chunk";
}

TEST(SetWriter, split_without_samples_is_refused_and_leaves_nothing) {
  const TemporaryFolder folder;
  for (const std::int64_t per_file : {0, 2}) {
    const auto error = error_of([&] {
      SetWriter writer({.path = folder.file("set.h5"), .samples_per_file = per_file});
      writer.begin_split("train", kScalars);
      append_counted(writer, 0, 3);
      writer.begin_split("test", kScalars);
      (void)writer.finish();
    });
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_TRUE(mentions(error, "'test'") && mentions(error, "set.h5")) << error.what();
    EXPECT_TRUE(std::filesystem::is_empty(folder.file("")));
  }
}

TEST(SetWriter, place_that_cannot_be_written_is_named) {
  const TemporaryFolder folder;
  write_file(folder.file("wall"), "a file where a folder should be");
  const auto error = error_of([&] { SetWriter({.path = folder.file("wall/set.h5")}); });
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "wall/set.h5")) << error.what();
}

TEST(SetWriter, folder_that_comes_in_the_way_of_the_last_name_is_an_error) {
  const TemporaryFolder folder;
  const auto error = error_of([&] {
    SetWriter writer({.path = folder.file("set.h5")});
    writer.begin_split("train", kScalars);
    append_counted(writer, 0, 3);
    std::filesystem::create_directories(folder.file("set.h5/full"));
    (void)writer.finish();
  });
  EXPECT_TRUE(mentions(error, "cannot rename")) << error.what();
  EXPECT_FALSE(std::filesystem::exists(folder.file("set.h5.partial")));
}

}  // namespace
}  // namespace lockstep::data
