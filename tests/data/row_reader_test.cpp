// Reading of damaged files, told with its place, and the cache of decoded blocks.
#include <array>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "data/info.h"
#include "hdf5_raw.h"

namespace lockstep::data {
namespace {

constexpr std::int64_t kRow = 12;  ///< elements of [4, 3]
const std::vector<hsize_t> kExtents{23, 4, 3};

std::vector<double> numbers() {
  std::vector<double> values(static_cast<std::size_t>(23 * kRow));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>((i * 7919) % 60013) - 30000;
  return values;
}

std::vector<double> slice(const std::vector<double>& values, std::int64_t first, std::int64_t count) {
  return {values.begin() + first * kRow, values.begin() + (first + count) * kRow};
}

TEST(DamagedData, chunk_that_does_not_inflate_is_told_with_its_row_and_the_others_still_read) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  raw.put_numbers("x", H5T_STD_I32LE, kExtents, numbers(),
                  chunks({5, 4, 3}, [](hid_t id) { H5Pset_deflate(id, 6); }));
  haddr_t place = 0;
  {
    const auto dataset = owned(H5Dopen2(raw.id(), "x", H5P_DEFAULT), H5Dclose);
    const std::array<hsize_t, 3> start{10, 0, 0};
    unsigned mask = 0;
    hsize_t bytes = 0;
    ASSERT_GE(H5Dget_chunk_info_by_coord(dataset.id(), start.data(), &mask, &place, &bytes), 0);
  }
  raw.close();
  std::fstream(folder.file("a.h5"), std::ios::in | std::ios::out | std::ios::binary)
      .seekp(static_cast<std::streamoff>(place))
      .write("\0\0\0\0\0\0", 6);
  const auto file = Hdf5File::open(folder.file("a.h5"));
  EXPECT_EQ(rows_by_reader(file, "x", 5, 5), slice(numbers(), 5, 5));
  const auto error = error_of([&] { (void)rows_by_reader(file, "x", 9, 3); });
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "chunk at row 10 of") && mentions(error, "a.h5:x")) << error.what();
  const auto by_library = error_of([&] { (void)rows_by_library(file, "x", 9, 3); });
  EXPECT_TRUE(mentions(by_library, "rows [9, 12)") && mentions(by_library, "a.h5:x")) << by_library.what();
  EXPECT_NE(describe_file(folder.file("a.h5")).find("unreadable"), std::string::npos);
}

TEST(DamagedData, checksum_that_does_not_fit_is_an_error) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  raw.put_numbers("x", H5T_STD_I32LE, kExtents, numbers(),
                  chunks({23, 4, 3}, [](hid_t id) { H5Pset_fletcher32(id); }));
  haddr_t place = 0;
  {
    const auto dataset = owned(H5Dopen2(raw.id(), "x", H5P_DEFAULT), H5Dclose);
    const std::array<hsize_t, 3> start{};
    unsigned mask = 0;
    hsize_t bytes = 0;
    ASSERT_GE(H5Dget_chunk_info_by_coord(dataset.id(), start.data(), &mask, &place, &bytes), 0);
  }
  raw.close();
  std::fstream(folder.file("a.h5"), std::ios::in | std::ios::out | std::ios::binary)
      .seekp(static_cast<std::streamoff>(place) + 100)
      .write("x", 1);
  const auto file = Hdf5File::open(folder.file("a.h5"));
  EXPECT_TRUE(mentions(error_of([&] { (void)rows_by_reader(file, "x", 0, 1); }), "a.h5:x"));
}

TEST(DamagedData, file_that_shrinks_while_it_is_open_is_an_error_not_zeros) {
  const TemporaryFolder folder;
  const auto path = folder.file("a.h5");
  RawFile raw(path);
  raw.put_numbers("x", H5T_STD_I32LE, kExtents, numbers());
  const auto file = raw.reopen();
  BlockCache cache(1 << 20);
  const auto reader = make_row_reader(file, "x", cache);
  const auto offset = static_cast<std::uintmax_t>(file.dataset("x").storage().offset);
  std::filesystem::resize_file(path, offset + 20 * kRow * 4);
  std::vector<std::byte> rows(static_cast<std::size_t>(2 * kRow * 4));
  EXPECT_NO_THROW(reader->read(18, 2, rows.data()));
  const auto late = error_of([&] { reader->read(19, 2, rows.data()); });
  EXPECT_TRUE(mentions(late, "ends before its data") && mentions(late, "a.h5:x")) << late.what();
  EXPECT_TRUE(mentions(error_of([&] { (void)make_row_reader(file, "x", cache); }), "ends before its data"));
}

TEST(DamagedData, rows_beyond_the_dataset_are_refused_with_both_numbers) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  raw.put_numbers("x", H5T_STD_I32LE, kExtents, numbers());
  const auto file = raw.reopen();
  std::vector<double> room(2 * kRow);
  const auto array = file.dataset("x");
  for (const std::int64_t first : {-1, 22, 23}) {
    const auto error = error_of([&] { array.read_rows(first, 2, flat(std::span<double>(room))); });
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_TRUE(mentions(error, "which has 23")) << error.what();
  }
}

// ---- caching

TEST(DamagedData, shape_beyond_all_reason_is_refused_before_memory_is_asked_for) {
  const TemporaryFolder folder;
  const hsize_t huge = hsize_t{1} << 40;
  RawFile raw(folder.file("a.h5"));
  (void)raw.make("uncountable", H5T_STD_I32LE, {huge, huge}, chunks({1, 1}));
  (void)raw.make("wide", H5T_STD_I32LE, {2, huge}, chunks({1, 1024}));
  (void)raw.make("long", H5T_STD_I32LE, {huge, 2}, chunks({1024, 2}));
  const auto file = raw.reopen();
  BlockCache cache(100);
  const auto uncountable = error_of([&] { (void)file.dataset("uncountable"); });
  EXPECT_EQ(uncountable.fault(), Fault::data);
  EXPECT_TRUE(mentions(uncountable, "impossible shape [1099511627776, 1099511627776]")) << uncountable.what();
  const auto wide = error_of([&] { (void)make_row_reader(file, "wide", cache); });
  EXPECT_TRUE(mentions(wide, "samples of 4398046511104 bytes")) << wide.what();
  EXPECT_EQ(rows_by_reader(file, "long", (std::int64_t{1} << 40) - 1, 1), (std::vector<double>{0, 0}));
}

TEST(BlockCache, block_larger_than_the_budget_is_served_and_alone) {
  BlockCache cache(10);
  int loads = 0;
  const auto load = [&] {
    ++loads;
    return std::vector<std::byte>(100, std::byte{7});
  };
  EXPECT_EQ(cache.get({&cache, 1}, load)->size(), 100U);
  EXPECT_EQ(cache.get({&cache, 1}, load)->at(99), std::byte{7});
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(cache.get({&cache, 2}, load)->size(), 100U);
  EXPECT_EQ(cache.bytes(), 100U);
}

TEST(BlockCache, block_in_use_outlives_its_place_in_the_cache) {
  BlockCache cache(10);
  const auto kept = cache.get({&cache, 1}, [] { return std::vector<std::byte>(8, std::byte{1}); });
  for (std::int64_t number = 2; number < 20; ++number) {
    (void)cache.get({&cache, number}, [] { return std::vector<std::byte>(8, std::byte{2}); });
  }
  EXPECT_EQ(kept->front(), std::byte{1});
  EXPECT_LE(cache.bytes(), 10U);
}

TEST(BlockCache, readers_do_not_share_blocks_of_the_same_number) {
  BlockCache cache(100);
  int one = 0;
  int two = 0;
  EXPECT_EQ(cache.get({&one, 0}, [] { return std::vector<std::byte>(1, std::byte{1}); })->front(),
            std::byte{1});
  EXPECT_EQ(cache.get({&two, 0}, [] { return std::vector<std::byte>(1, std::byte{2}); })->front(),
            std::byte{2});
}

TEST(BlockCache, failed_load_leaves_nothing_and_may_be_tried_again) {
  BlockCache cache(100);
  const auto fails = []() -> std::vector<std::byte> { throw Error(Fault::data, "damaged"); };
  EXPECT_EQ(error_of([&] { (void)cache.get({&cache, 0}, fails); }).fault(), Fault::data);
  EXPECT_EQ(cache.bytes(), 0U);
  EXPECT_EQ(cache.get({&cache, 0}, [] { return std::vector<std::byte>(3); })->size(), 3U);
}

}  // namespace
}  // namespace lockstep::data
