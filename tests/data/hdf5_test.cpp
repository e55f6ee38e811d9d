// HDF5 in and out: every layout reads the same whichever way it is read; what cannot be read is refused by
// name, never with a crash.
#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>

#include <gtest/gtest.h>

#include "data/info.h"
#include "data/row_reader.h"
#include "data_files.h"

namespace lockstep::data {
namespace {

std::string bytes_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class T>
std::vector<T> read_all(const Hdf5File& file, const std::string& name) {
  const auto array = file.dataset(name);
  std::vector<T> values(static_cast<std::size_t>(array.storage().shape.count()));
  array.read(flat(std::span<T>(values)));
  return values;
}

template <class T>
class EveryDtype : public testing::Test {};
using Dtypes =
    testing::Types<double, float, Bf16, F16, std::int64_t, std::int32_t, std::uint16_t, std::uint8_t>;
TYPED_TEST_SUITE(EveryDtype, Dtypes);

TYPED_TEST(EveryDtype, comes_back_exactly_by_library_and_by_row_reader) {
  const TemporaryFolder folder;
  std::vector<TypeParam> values;
  for (int i = 0; i < 11 * 6; ++i) values.push_back(TypeParam(static_cast<float>(i * 3 % 251)));
  auto file = Hdf5File::create(folder.file("a.h5"));
  int number = 0;
  for (const Hdf5Creation how :
       {Hdf5Creation{}, Hdf5Creation{.chunk_rows = 4}, Hdf5Creation{.chunk_rows = 4, .deflate = 5},
        Hdf5Creation{.chunk_rows = 1, .deflate = 1}, Hdf5Creation{.chunk_rows = 50, .deflate = 9}}) {
    const std::string name = "/x" + std::to_string(number++);
    put(file, name, Shape{11, 2, 3}, values, how);
    file.flush();
    const auto array = file.dataset(name);
    EXPECT_EQ(array.storage().dtype, dtype_of<TypeParam>);
    EXPECT_TRUE(array.storage().exact);
    EXPECT_EQ(array.storage().layout, how.chunk_rows > 0 ? Hdf5Layout::chunked : Hdf5Layout::contiguous);
    BlockCache cache(1 << 20);
    const auto reader = make_row_reader(file, name, cache);
    for (const auto& [first, count] :
         {std::pair(0, 11), std::pair(3, 6), std::pair(10, 1), std::pair(4, 0)}) {
      std::vector<TypeParam> by_library(static_cast<std::size_t>(count * 6));
      std::vector<TypeParam> by_reader(static_cast<std::size_t>(count * 6));
      array.read_rows(first, count, flat(std::span<TypeParam>(by_library)));
      reader->read(first, count, reinterpret_cast<std::byte*>(by_reader.data()));
      const std::size_t bytes = by_library.size() * sizeof(TypeParam);
      EXPECT_TRUE(bytes == 0 || std::memcmp(by_library.data(), values.data() + first * 6, bytes) == 0);
      EXPECT_TRUE(bytes == 0 || std::memcmp(by_reader.data(), by_library.data(), bytes) == 0);
    }
  }
}

TEST(Hdf5File, groups_datasets_and_attributes_come_back) {
  const TemporaryFolder folder;
  {
    auto file = Hdf5File::create(folder.file("a.h5"));
    file.make_group("/b");
    file.make_group("/a");
    put(file, "/a/x", Shape{}, std::vector<double>{2.5});
    file.set_attribute("/a", "text", std::string("two\nlines"));
    file.set_attribute("/a", "text", std::string("replaced"));
    file.set_attribute("/a", "numbers", std::array{0.5, 1.25});
    file.set_attribute("/a", "number", std::int64_t{-3});
    file.set_attribute("/", "long", std::string(2'000'000, 'x'));
  }
  const auto file = Hdf5File::open(folder.file("a.h5"));
  EXPECT_EQ(file.groups(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(file.datasets("/a"), std::vector<std::string>{"x"});
  EXPECT_EQ(read_all<double>(file, "/a/x"), std::vector<double>{2.5});
  EXPECT_EQ(file.attribute("/a", "text"), "replaced");
  EXPECT_EQ(file.attribute("/a", "numbers"), "0.5, 1.25");
  EXPECT_EQ(file.attribute("/a", "number"), "-3");
  EXPECT_EQ(file.attribute("/", "long")->size(), 2'000'000U);
  EXPECT_FALSE(file.attribute("/a", "absent"));
  EXPECT_FALSE(file.has_group("/a/x"));
  EXPECT_FALSE(file.has_dataset("/no/such"));
}

TEST(Hdf5File, absent_things_are_refused_by_name) {
  const TemporaryFolder folder;
  auto file = Hdf5File::create(folder.file("a.h5"));
  put(file, "/x", Shape{3}, std::vector<float>{1, 2, 3});
  EXPECT_TRUE(mentions(error_of([&] { (void)file.dataset("/y"); }), "'/y'"));
  std::vector<float> room(5);
  const auto array = file.dataset("/x");
  const auto error = error_of([&] { array.read_rows(1, 3, flat(std::span<float>(room))); });
  EXPECT_TRUE(mentions(error, "[1, 4)") && mentions(error, "has 3")) << error.what();
  EXPECT_EQ(error_of([&] { array.read(flat(std::span<float>(room))); }).fault(), Fault::internal);
  EXPECT_TRUE(mentions(error_of([&] { (void)Hdf5File::open(folder.file("none.h5")); }), "none.h5"));
  EXPECT_TRUE(mentions(error_of([&] { (void)Hdf5File::open(folder.file("")); }), "folder"));
  EXPECT_TRUE(mentions(error_of([&] { (void)Hdf5File::create("/no/such/folder/a.h5"); }), "/no/such/folder"));
}

TEST(Hdf5File, foreign_file_is_refused_without_a_word_from_hdf5) {
  const TemporaryFolder folder;
  std::ofstream(folder.file("page.h5")) << "<html>404</html>";
  std::ofstream(folder.file("empty.h5")).flush();
  testing::internal::CaptureStderr();
  for (const char* name : {"page.h5", "empty.h5"}) {
    const auto error = error_of([&] { (void)Hdf5File::open(folder.file(name)); });
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_TRUE(mentions(error, "is not an HDF5 file") && mentions(error, name)) << error.what();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Hdf5File, file_cut_anywhere_is_refused_or_read_but_never_crashes) {
  const TemporaryFolder folder;
  const auto whole =
      bytes_of_file(numbered_file(folder.file("whole.h5"), 40, 0, {.chunk_rows = 7, .deflate = 3}));
  int refused = 0;
  for (std::size_t length = 0; length < whole.size(); length += 97) {
    std::ofstream(folder.file("cut.h5"), std::ios::binary)
        .write(whole.data(), static_cast<std::streamsize>(length));
    const auto error = error_of([&] { (void)open_hdf5({folder.file("cut.h5")}, "train"); });
    refused += error.fault() == Fault::data && mentions(error, "cut.h5") ? 1 : 0;
    EXPECT_EQ(error_of([&] { (void)describe_file(folder.file("cut.h5")); }).fault(), Fault::data);
  }
  EXPECT_EQ(refused, static_cast<int>((whole.size() + 96) / 97));
}

TEST(Hdf5File, bytes_flipped_anywhere_never_crash) {
  const TemporaryFolder folder;
  const auto whole =
      bytes_of_file(numbered_file(folder.file("whole.h5"), 40, 0, {.chunk_rows = 7, .deflate = 3}));
  int noticed = 0;
  for (std::size_t at = 0; at < whole.size(); at += 61) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x5a);
    std::ofstream(folder.file("bad.h5"), std::ios::binary)
        .write(damaged.data(), static_cast<std::streamsize>(whole.size()));
    try {
      const auto set = open_hdf5({folder.file("bad.h5")}, "train");
      if (set->size() > 1000 || set->sample()[0].bytes() > 100'000) continue;  // a shape that lies, plausibly
      std::vector<std::byte> pixels(static_cast<std::size_t>(set->size()) * set->sample()[0].bytes());
      std::vector<std::byte> labels(static_cast<std::size_t>(set->size()) * set->sample().back().bytes());
      std::vector<std::int64_t> all(static_cast<std::size_t>(set->size()));
      std::iota(all.begin(), all.end(), 0);
      SampleBuffers into{{pixels.data(), labels.data()}};
      into.tensors.resize(set->sample().size(), nullptr);
      set->read(all, into);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::data) << at << ": " << error.what();
      ++noticed;
    }
  }
  EXPECT_GT(noticed, 10);
}

TEST(Hdf5Samples, many_threads_read_the_same_set) {
  const TemporaryFolder folder;
  const auto set =
      open_hdf5({numbered_file(folder.file("a.h5"), 200, 0, {.chunk_rows = 9, .deflate = 1})}, "train",
                300);  // a cache so small that blocks come and go
  std::array<int, 4> wrong{};
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < wrong.size(); ++t) {
      threads.emplace_back([&, t] {
        std::vector<std::uint8_t> pixels(8);
        SampleBuffers into{{reinterpret_cast<std::byte*>(pixels.data()), nullptr}};
        for (std::int64_t i = 0; i < 300; ++i) {
          const std::int64_t sample = (i * 37 + static_cast<std::int64_t>(t) * 11) % 199;
          set->read(std::vector<std::int64_t>{sample, sample + 1}, into);
          wrong[t] += pixels[3] != sample || pixels[4] != sample + 1 ? 1 : 0;
        }
      });
    }
  }
  EXPECT_EQ(wrong, (std::array<int, 4>{}));
}

TEST(Hdf5Samples, files_of_a_glob_follow_each_other_and_others_are_left_out) {
  const TemporaryFolder folder;
  numbered_file(folder.file("a1.h5"), 5, 0);
  numbered_file(folder.file("a2.h5"), 7, 5);
  token_file(folder.file("a3.h5"), 50, 9, "validation");
  const auto set = open_hdf5({folder.file("a*.h5")}, "train");
  EXPECT_EQ(set->size(), 12);
  ASSERT_EQ(set->files().size(), 2U);
  EXPECT_EQ(set->files()[1].first, 5);
  std::vector<std::uint8_t> pixels(16);
  SampleBuffers into{{reinterpret_cast<std::byte*>(pixels.data()), nullptr}};
  set->read(std::vector<std::int64_t>{4, 5, 11, 0}, into);
  EXPECT_EQ(pixels[0], 4);
  EXPECT_EQ(pixels[4], 5);
  EXPECT_EQ(pixels[8], 11);
  EXPECT_TRUE(set->where(6).find("a2.h5', sample 1") != std::string::npos) << set->where(6);
}

TEST(Hdf5Samples, missing_split_unequal_files_and_uneven_tensors_are_refused_with_what_there_is) {
  const TemporaryFolder folder;
  const auto a = numbered_file(folder.file("a.h5"), 5);
  auto error = error_of([&] { (void)open_hdf5({a}, "test"); });
  EXPECT_TRUE(mentions(error, "no split 'test'") && mentions(error, "train")) << error.what();
  EXPECT_NE(error.hint().find("set data.split"), std::string::npos) << error.hint();
  error = error_of([&] { (void)open_hdf5({a}, "test", kDefaultCacheBytes, "eval.split"); });
  EXPECT_NE(error.hint().find("set eval.split"), std::string::npos) << error.hint();
  const auto t = token_file(folder.file("t.h5"), 50, 9);
  error = error_of([&] { (void)open_hdf5({a, t}, "train"); });
  EXPECT_TRUE(mentions(error, "different tensors") && mentions(error, "t.h5")) << error.what();
  {
    auto file = Hdf5File::create(folder.file("uneven.h5"));
    file.make_group("/train");
    put(file, "/train/image", Shape{3, 1}, std::vector<float>(3));
    put(file, "/train/label", Shape{4}, std::vector<std::int32_t>(4));
  }
  error = error_of([&] { (void)open_hdf5({folder.file("uneven.h5")}, "train"); });
  EXPECT_TRUE(mentions(error, "4 rows") && mentions(error, "3")) << error.what();
  EXPECT_TRUE(mentions(error_of([&] { (void)open_hdf5({folder.file("b*.h5")}, "train"); }), "b*.h5"));
  EXPECT_EQ(error_of([] { (void)open_hdf5({}, "train"); }).fault(), Fault::data);
}

TEST(BlockCache, keeps_within_its_budget_and_drops_the_least_recent) {
  BlockCache cache(100);
  int loads = 0;
  const auto load = [&] {
    ++loads;
    return std::vector<std::byte>(40);
  };
  for (const std::int64_t number : {0, 1, 0, 2, 0, 1}) (void)cache.get({&cache, number}, load);
  EXPECT_EQ(loads, 4);  // 0, 1, 2, and 1 again after 2 pushed it out
  EXPECT_LE(cache.bytes(), 100U);
}

}  // namespace
}  // namespace lockstep::data
