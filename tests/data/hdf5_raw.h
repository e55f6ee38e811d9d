// Files written through the HDF5 library itself, with the layouts, filters and types that other programs
// leave behind and our own writer never makes.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "data/assemble.h"
#include "data/hdf5_types.h"
#include "data/row_reader.h"
#include "data_files.h"

namespace lockstep::data {

/// Sets filters, layout or fill value of a dataset that is being made.
using Prepare = std::function<void(hid_t properties)>;

/// A file made by the library; closed by close() or with the object.
class RawFile {
 public:
  explicit RawFile(const std::string& path, hsize_t userblock = 0) : path_(path) {
    const auto properties = owned(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    H5Pset_userblock(properties.id(), userblock);
    file_ = owned(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, properties.id(), H5P_DEFAULT), H5Fclose);
    EXPECT_TRUE(file_.valid());
  }
  [[nodiscard]] hid_t id() const { return file_.id(); }
  void close() { file_ = Hdf5Handle(); }
  /// Closes, and opens as the library under test does.
  [[nodiscard]] Hdf5File reopen() {
    close();
    return Hdf5File::open(path_);
  }

  /// An empty dataset of type `type`.
  [[nodiscard]] Hdf5Handle make(const std::string& name, hid_t type, const std::vector<hsize_t>& extents,
                                const Prepare& prepare = {}) const {
    const auto space =
        owned(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), H5Sclose);
    const auto properties = owned(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    if (prepare) prepare(properties.id());
    auto dataset = owned(
        H5Dcreate2(file_.id(), name.c_str(), type, space.id(), H5P_DEFAULT, properties.id(), H5P_DEFAULT),
        H5Dclose);
    EXPECT_TRUE(dataset.valid()) << name << ": " << hdf5_reason();
    return dataset;
  }
  /// A dataset with all its values, converted from doubles.
  void put_numbers(const std::string& name, hid_t type, const std::vector<hsize_t>& extents,
                   const std::vector<double>& values, const Prepare& prepare = {}) const {
    const auto dataset = make(name, type, extents, prepare);
    EXPECT_GE(H5Dwrite(dataset.id(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0)
        << name << ": " << hdf5_reason();
  }
  /// Writes an attribute of the top group.
  void put_attribute(const char* key, hid_t type, const std::vector<hsize_t>& extents,
                     const void* values) const {
    const auto space =
        extents.empty()
            ? owned(H5Screate(H5S_SCALAR), H5Sclose)
            : owned(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), H5Sclose);
    const auto attribute =
        owned(H5Acreate2(file_.id(), key, type, space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    EXPECT_GE(H5Awrite(attribute.id(), type, values), 0) << key;
  }

 private:
  Hdf5Guard quiet_;
  std::string path_;
  Hdf5Handle file_;
};

inline Prepare chunks(std::vector<hsize_t> extents, Prepare more = {}) {
  return [extents = std::move(extents), more = std::move(more)](hid_t properties) {
    H5Pset_chunk(properties, static_cast<int>(extents.size()), extents.data());
    if (more) more(properties);
  };
}

/// Rows [first, first + count) as the row reader gives them, as doubles.
inline std::vector<double> rows_by_reader(const Hdf5File& file, const std::string& name, std::int64_t first,
                                          std::int64_t count) {
  BlockCache cache(1 << 20);
  const auto storage = file.dataset(name).storage();
  const std::int64_t each = storage.shape.count() / std::max<std::int64_t>(1, storage.shape[0]);
  std::vector<std::byte> bytes(static_cast<std::size_t>(each * count) * size_of(*storage.dtype));
  make_row_reader(file, name, cache)->read(first, count, bytes.data());
  std::vector<double> values;
  for (std::size_t i = 0; i < static_cast<std::size_t>(each * count); ++i) {
    values.push_back(element_as<double>(bytes.data(), *storage.dtype, i));
  }
  return values;
}

/// The same rows as the HDF5 library converts them.
inline std::vector<double> rows_by_library(const Hdf5File& file, const std::string& name, std::int64_t first,
                                           std::int64_t count) {
  const auto array = file.dataset(name);
  const auto& shape = array.storage().shape;
  std::vector<double> values(
      static_cast<std::size_t>(shape.count() / std::max<std::int64_t>(1, shape[0]) * count));
  array.read_rows(first, count, flat(std::span<double>(values)));
  return values;
}

}  // namespace lockstep::data
