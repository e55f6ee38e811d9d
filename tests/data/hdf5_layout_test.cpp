// Datasets as other programs store them: every layout and filter reads the same by the library and by the row
// reader, and unwritten parts are fill values.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <numeric>

#include <gtest/gtest.h>

#include "data/info.h"
#include "hdf5_raw.h"

namespace lockstep::data {
namespace {

constexpr std::int64_t kRows = 23;
constexpr std::int64_t kRow = 12;  ///< elements of [4, 3]
const std::vector<hsize_t> kExtents{23, 4, 3};

/// Numbers of both signs that fit 16 bits.
std::vector<double> numbers() {
  std::vector<double> values(static_cast<std::size_t>(kRows * kRow));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>((i * 7919) % 60013) - 30000;
  return values;
}

std::vector<double> slice(const std::vector<double>& values, std::int64_t first, std::int64_t count) {
  return {values.begin() + first * kRow, values.begin() + (first + count) * kRow};
}

/// Runs of rows that begin and end inside, at the edge of and across chunks of 5.
constexpr std::array<std::pair<std::int64_t, std::int64_t>, 7> kRuns{
    {{0, 23}, {0, 1}, {4, 2}, {5, 5}, {7, 11}, {22, 1}, {9, 0}}};

void expect_all_runs(const Hdf5File& file, const std::string& name, const std::vector<double>& values) {
  for (const auto& [first, count] : kRuns) {
    EXPECT_EQ(rows_by_library(file, name, first, count), slice(values, first, count)) << name << " " << first;
    EXPECT_EQ(rows_by_reader(file, name, first, count), slice(values, first, count)) << name << " " << first;
  }
}

struct Layout {
  const char* name;
  Prepare prepare;
  Hdf5Layout layout;
  const char* filters;  ///< as data info prints them
};

std::vector<Layout> layouts() {
  const auto deflate = [](hid_t id) { H5Pset_deflate(id, 6); };
  const auto shuffle = [](hid_t id) { H5Pset_shuffle(id); };
  const auto both = [=](hid_t id) { shuffle(id), deflate(id); };
  return {
      {"contiguous", {}, Hdf5Layout::contiguous, ""},
      {"compact", [](hid_t id) { H5Pset_layout(id, H5D_COMPACT); }, Hdf5Layout::compact, ""},
      {"rows", chunks({5, 4, 3}), Hdf5Layout::chunked, ""},
      {"one_row", chunks({1, 4, 3}), Hdf5Layout::chunked, ""},
      {"one_chunk", chunks({23, 4, 3}), Hdf5Layout::chunked, ""},
      {"cut_columns", chunks({5, 4, 2}, both), Hdf5Layout::chunked, "shuffle deflate 6"},
      {"cut_middle", chunks({5, 3, 3}), Hdf5Layout::chunked, ""},
      {"deflate", chunks({5, 4, 3}, deflate), Hdf5Layout::chunked, "deflate 6"},
      {"shuffle", chunks({5, 4, 3}, shuffle), Hdf5Layout::chunked, "shuffle"},
      {"both", chunks({5, 4, 3}, both), Hdf5Layout::chunked, "shuffle deflate 6"},
      {"backwards", chunks({5, 4, 3}, [=](hid_t id) { deflate(id), shuffle(id); }), Hdf5Layout::chunked,
       "deflate 6 shuffle"},
      {"fletcher", chunks({5, 4, 3}, [](hid_t id) { H5Pset_fletcher32(id); }), Hdf5Layout::chunked,
       "fletcher32"},
      {"all", chunks({5, 4, 3}, [=](hid_t id) { both(id), H5Pset_fletcher32(id); }), Hdf5Layout::chunked,
       "shuffle deflate 6 fletcher32"},
      {"scaled", chunks({5, 4, 3}, [](hid_t id) { H5Pset_scaleoffset(id, H5Z_SO_INT, 0); }),
       Hdf5Layout::chunked, "scaleoffset"},
      {"nbit", chunks({5, 4, 3}, [](hid_t id) { H5Pset_nbit(id); }), Hdf5Layout::chunked, "nbit"},
      {"raw_edge",
       chunks({5, 4, 3},
              [=](hid_t id) {
                both(id);
                H5Pset_chunk_opts(id, H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS);
              }),
       Hdf5Layout::chunked, "shuffle deflate 6"},
  };
}

TEST(ForeignLayout, every_layout_and_filter_reads_the_same_both_ways) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  for (const auto& each : layouts())
    raw.put_numbers(each.name, H5T_STD_I32LE, kExtents, numbers(), each.prepare);
  const auto file = raw.reopen();
  for (const auto& each : layouts()) {
    const auto storage = file.dataset(each.name).storage();
    EXPECT_EQ(storage.layout, each.layout) << each.name;
    std::string filters;
    for (const auto& filter : storage.filters) filters += (filters.empty() ? "" : " ") + filter.name;
    EXPECT_EQ(filters, each.filters) << each.name;
    EXPECT_EQ(storage.whole_edge_chunks, std::string(each.name) != "raw_edge");
    expect_all_runs(file, each.name, numbers());
  }
}

TEST(ForeignLayout, other_byte_order_and_width_read_the_same_in_every_layout) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  for (const auto& each : layouts()) {
    raw.put_numbers(std::string(each.name) + "_i16", H5T_STD_I16BE, kExtents, numbers(), each.prepare);
  }
  const auto file = raw.reopen();
  for (const auto& each : layouts()) {
    const std::string name = std::string(each.name) + "_i16";
    EXPECT_FALSE(file.dataset(name).storage().exact);
    expect_all_runs(file, name, numbers());
  }
}

TEST(ForeignLayout, data_in_an_external_file_is_read) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  const auto outside = folder.file("outside.bin");
  raw.put_numbers("x", H5T_STD_I32LE, kExtents, numbers(),
                  [&](hid_t id) { H5Pset_external(id, outside.c_str(), 0, H5F_UNLIMITED); });
  const auto file = raw.reopen();
  EXPECT_EQ(file.dataset("x").storage().layout, Hdf5Layout::other);
  expect_all_runs(file, "x", numbers());
}

TEST(ForeignLayout, virtual_dataset_shows_the_rows_of_other_files) {
  const TemporaryFolder folder;
  for (const char* name : {"low.h5", "high.h5"}) {
    RawFile part(folder.file(name));
    const bool low = std::string(name) == "low.h5";
    part.put_numbers("x", H5T_STD_I32LE, {10, 4, 3}, slice(numbers(), low ? 0 : 10, 10));
  }
  RawFile raw(folder.file("a.h5"));
  (void)raw.make("x", H5T_STD_I32LE, {20, 4, 3}, [&](hid_t id) {
    const std::array<hsize_t, 3> all{20, 4, 3};
    const std::array<hsize_t, 3> part{10, 4, 3};
    const auto source = owned(H5Screate_simple(3, part.data(), nullptr), H5Sclose);
    for (const hsize_t first : {0, 10}) {
      const auto target = owned(H5Screate_simple(3, all.data(), nullptr), H5Sclose);
      const std::array<hsize_t, 3> start{first, 0, 0};
      H5Sselect_hyperslab(target.id(), H5S_SELECT_SET, start.data(), nullptr, part.data(), nullptr);
      H5Pset_virtual(id, target.id(), folder.file(first == 0 ? "low.h5" : "high.h5").c_str(), "x",
                     source.id());
    }
  });
  const auto file = raw.reopen();
  EXPECT_EQ(file.dataset("x").storage().layout, Hdf5Layout::other);
  EXPECT_EQ(rows_by_library(file, "x", 7, 6), slice(numbers(), 7, 6));
  EXPECT_EQ(rows_by_reader(file, "x", 7, 6), slice(numbers(), 7, 6));
}

TEST(ForeignLayout, user_block_before_the_file_moves_no_row) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"), 4096);
  raw.put_numbers("plain", H5T_STD_I32LE, kExtents, numbers());
  raw.put_numbers("packed", H5T_STD_I32LE, kExtents, numbers(),
                  chunks({5, 4, 3}, [](hid_t id) { H5Pset_deflate(id, 1); }));
  const auto file = raw.reopen();
  EXPECT_GE(file.dataset("plain").storage().offset, 4096);
  expect_all_runs(file, "plain", numbers());
  expect_all_runs(file, "packed", numbers());
}

TEST(ForeignLayout, what_was_never_written_holds_the_fill_value) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  const std::int32_t fill = -77;
  const auto filled = [&](hid_t id) { H5Pset_fill_value(id, H5T_NATIVE_INT32, &fill); };
  const auto packed = [&](hid_t id) {
    filled(id);
    H5Pset_deflate(id, 3);
  };
  (void)raw.make("plain", H5T_STD_I32LE, kExtents, filled);
  {
    const auto dataset = raw.make("holes", H5T_STD_I32LE, kExtents, chunks({5, 4, 3}, packed));
    const std::vector<std::int32_t> chunk(60, 9);  // rows 5 to 9 only
    const std::array<hsize_t, 3> start{5, 0, 0};
    const std::array<hsize_t, 3> count{5, 4, 3};
    const auto space = owned(H5Dget_space(dataset.id()), H5Sclose);
    const auto memory = owned(H5Screate_simple(3, count.data(), nullptr), H5Sclose);
    H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
    ASSERT_GE(H5Dwrite(dataset.id(), H5T_NATIVE_INT32, memory.id(), space.id(), H5P_DEFAULT, chunk.data()),
              0);
  }
  const auto file = raw.reopen();
  std::vector<double> expected(static_cast<std::size_t>(kRows * kRow), -77);
  expect_all_runs(file, "plain", expected);
  std::fill(expected.begin() + 5 * kRow, expected.begin() + 10 * kRow, 9.0);
  expect_all_runs(file, "holes", expected);
}

TEST(ForeignLayout, chunk_that_skipped_its_filters_is_taken_as_stored) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  const auto values = numbers();
  raw.put_numbers("x", H5T_STD_I32LE, kExtents, values, chunks({5, 4, 3}, [](hid_t id) {
                    H5Pset_shuffle(id);
                    H5Pset_deflate(id, 6);
                  }));
  {
    const auto dataset = owned(H5Dopen2(raw.id(), "x", H5P_DEFAULT), H5Dclose);
    std::vector<std::int32_t> chunk(values.begin() + 10 * kRow, values.begin() + 15 * kRow);
    const std::array<hsize_t, 3> start{10, 0, 0};
    const unsigned skip_both = 3;
    ASSERT_GE(
        H5Dwrite_chunk(dataset.id(), H5P_DEFAULT, skip_both, start.data(), chunk.size() * 4, chunk.data()),
        0);
  }
  expect_all_runs(raw.reopen(), "x", values);
}

TEST(ForeignLayout, no_rows_at_all_read_as_nothing) {
  const TemporaryFolder folder;
  RawFile raw(folder.file("a.h5"));
  (void)raw.make("plain", H5T_STD_I32LE, {0, 4});
  (void)raw.make("packed", H5T_STD_I32LE, {0, 4}, chunks({2, 4}));
  (void)raw.make("thin", H5T_STD_I32LE, {4, 0});
  const auto file = raw.reopen();
  for (const char* name : {"plain", "packed"}) EXPECT_TRUE(rows_by_reader(file, name, 0, 0).empty()) << name;
  EXPECT_TRUE(rows_by_reader(file, "thin", 1, 3).empty());
}

}  // namespace
}  // namespace lockstep::data
