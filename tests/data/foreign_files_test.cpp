// The 18 shared HDF5 files of other programs, each by name: which of their datasets are samples, that both
// ways of reading agree on them, and that the others are refused by name.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "data/info.h"
#include "hdf5_raw.h"

namespace lockstep::data {
namespace {

std::vector<std::filesystem::path> foreign_files() {
  std::vector<std::filesystem::path> files;
  std::error_code absent;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::string(LOCKSTEP_SHARED_DATA) + "/hdf5-files/pyfive", absent)) {
    files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

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

struct Found {
  int read = 0;     ///< datasets whose rows both readers give alike
  int refused = 0;  ///< datasets that are no tensors, refused by name
  friend bool operator==(const Found&, const Found&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Found& found) {
    return out << "{" << found.read << ", " << found.refused << "}";
  }
};

bool same_values(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](double x, double y) { return x == y || (x != x && y != y); });
}

void look_at(const Hdf5File& file, const std::string& name, Found& found) {
  const auto storage = file.dataset(name).storage();
  if (!storage.dtype || storage.shape.rank() == 0) {
    BlockCache cache(1000);
    const auto error = error_of([&] { (void)make_row_reader(file, name, cache); });
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_TRUE(mentions(error, name) && mentions(error, storage.type)) << error.what();
    ++found.refused;
    return;
  }
  const std::int64_t rows = storage.shape[0];
  EXPECT_TRUE(same_values(rows_by_reader(file, name, 0, rows), rows_by_library(file, name, 0, rows)))
      << file.path() << name;
  ++found.read;
}

void look_below(const Hdf5File& file, const std::string& group, int depth, Found& found) {
  const std::string prefix = group == "/" ? group : group + "/";
  for (const auto& name : file.datasets(group)) look_at(file, prefix + name, found);
  for (const auto& name : file.groups(group)) {
    if (depth < 6) look_below(file, prefix + name, depth + 1, found);
  }
}

TEST(EighteenFiles, each_dataset_reads_alike_both_ways_or_is_refused_by_name) {
  const std::filesystem::path root = std::string(LOCKSTEP_SHARED_DATA) + "/hdf5-files/pyfive";
  if (!std::filesystem::exists(root)) GTEST_SKIP() << "no shared hdf5-files";
  const std::map<std::string, Found> expected = {
      {"attr_datatypes.hdf5", {0, 0}},
      {"chunked.hdf5", {1, 0}},
      {"compressed.hdf5", {3, 0}},
      {"compressed_v1.hdf5", {1, 0}},
      {"dataset_datatypes.hdf5", {20, 0}},
      {"dataset_multidim.hdf5", {4, 0}},
      {"dim_scales.hdf5", {6, 0}},
      {"earliest.hdf5", {3, 0}},
      {"fillvalue_earliest.hdf5", {3, 0}},
      {"fillvalue_latest.hdf5", {3, 0}},
      {"filter_pipeline_v2.hdf5", {1, 0}},
      {"fletcher32.hdf5", {2, 0}},
      {"groups.hdf5", {0, 0}},
      {"latest.hdf5", {3, 0}},
      {"netcdf4_classic.nc", {2, 0}},
      {"new_style_groups.hdf5", {0, 0}},
      {"references.hdf5", {1, 4}},
      {"resizable.hdf5", {3, 0}},
  };
  std::set<std::string> there;
  for (const auto& entry : std::filesystem::directory_iterator(root))
    there.insert(entry.path().filename().string());
  EXPECT_EQ(there.size(), 18U);
  for (const auto& name : there) {
    Found found;
    look_below(Hdf5File::open((root / name).string()), "/", 0, found);
    const auto stated = expected.find(name);
    ASSERT_NE(stated, expected.end()) << "{\"" << name << "\", " << found << "},";
    EXPECT_EQ(found, stated->second) << name;
  }
  EXPECT_EQ(expected.size(), there.size());
}

TEST(ForeignHdf5Files, each_of_the_18_is_described_and_its_numbers_are_read) {
  const auto files = foreign_files();
  if (files.empty()) GTEST_SKIP() << "no shared hdf5-files";
  EXPECT_EQ(files.size(), 18U);
  testing::internal::CaptureStderr();
  for (const auto& path : files) {
    const auto text = describe_file(path.string());
    EXPECT_NE(text.find(path.filename().string()), std::string::npos);
    EXPECT_EQ(text.find("unreadable"), std::string::npos) << text;
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(ForeignHdf5Files, cut_short_they_are_refused_or_read_but_never_crash) {
  const auto files = foreign_files();
  if (files.empty()) GTEST_SKIP() << "no shared hdf5-files";
  const TemporaryFolder folder;
  for (const auto& path : files) {
    const auto whole = bytes_of_file(path);
    for (const std::size_t eighth : {1U, 3U, 5U, 7U}) {
      std::ofstream(folder.file("cut.h5"), std::ios::binary)
          .write(whole.data(), static_cast<std::streamsize>(whole.size() * eighth / 8));
      EXPECT_EQ(error_of([&] { (void)describe_file(folder.file("cut.h5")); }).fault(), Fault::data) << path;
    }
  }
}

TEST(ForeignHdf5Files, known_values_come_out_of_odd_types_layouts_and_filters) {
  const auto root = std::string(LOCKSTEP_SHARED_DATA) + "/hdf5-files/pyfive/";
  if (foreign_files().empty()) GTEST_SKIP() << "no shared hdf5-files";
  const auto types = Hdf5File::open(root + "dataset_datatypes.hdf5");
  for (const auto& name : types.datasets()) {
    const double sign = name.starts_with("int") ? -1 : 1;  // the signed ones hold 0, -1, -2, -3
    EXPECT_EQ(read_all<double>(types, "/" + name), (std::vector<double>{0, sign, 2 * sign, 3 * sign}))
        << name;
    BlockCache cache(1 << 20);
    const auto storage = types.dataset("/" + name).storage();
    std::vector<std::byte> row(size_of(*storage.dtype));
    make_row_reader(types, "/" + name, cache)->read(2, 1, row.data());
    EXPECT_TRUE(std::ranges::any_of(row, [](std::byte each) { return each != std::byte{0}; })) << name;
  }
  EXPECT_EQ(types.dataset("/float32_big").storage().type, "f32 big-endian");
  EXPECT_FALSE(types.dataset("/float32_big").storage().exact);
  std::vector<std::int32_t> counted(21 * 16);
  std::iota(counted.begin(), counted.end(), 0);
  for (const auto& [file, dataset] :
       {std::pair("chunked.hdf5", "/dataset1"), std::pair("compressed.hdf5", "/dataset1"),
        std::pair("compressed.hdf5", "/dataset2"), std::pair("compressed.hdf5", "/dataset3")}) {
    EXPECT_EQ(read_all<std::int32_t>(Hdf5File::open(root + file), dataset), counted) << file << dataset;
  }
}

TEST(ForeignHdf5Files, elements_that_are_not_numbers_are_refused_as_tensors_by_name) {
  const auto path = std::string(LOCKSTEP_SHARED_DATA) + "/hdf5-files/pyfive/references.hdf5";
  if (foreign_files().empty()) GTEST_SKIP() << "no shared hdf5-files";
  const auto error = error_of([&] { (void)open_hdf5({path}, "/"); });
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "references.hdf5") && mentions(error, "cannot be a tensor")) << error.what();
}

}  // namespace
}  // namespace lockstep::data
