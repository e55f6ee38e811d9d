// What the files on HDF5 share among themselves: the lock, quiet errors, and types. Includes hdf5.h: for
// data/hdf5_*.cpp only.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <hdf5.h>

#include "core/dtype.h"
#include "data/hdf5_file.h"

namespace lockstep::data {

/// Holds the library's lock and keeps HDF5 from printing while it lives. Nests.
class Hdf5Guard {
 public:
  Hdf5Guard();
  Hdf5Guard(const Hdf5Guard&) = delete;
  Hdf5Guard& operator=(const Hdf5Guard&) = delete;
  ~Hdf5Guard();

 private:
  std::unique_lock<std::recursive_mutex> lock_;
  H5E_auto2_t print_ = nullptr;
  void* print_data_ = nullptr;
};

struct Hdf5File::State {
  std::string path;
  Hdf5Handle handle;
};

struct Hdf5Array::State {
  std::shared_ptr<const Hdf5File::State> file;
  std::string name;
  Hdf5Handle handle;
  Hdf5Storage storage;
};

/// Describes an open dataset of the file `path`.
[[nodiscard]] Hdf5Storage describe_storage(hid_t dataset, const std::string& path);

/// The innermost message of the last HDF5 failure, which this thread made under its guard.
[[nodiscard]] std::string hdf5_reason();

/// Owns `id` with its closing function; invalid ids stay invalid.
[[nodiscard]] Hdf5Handle owned(hid_t id, herr_t (*close)(hid_t));

/// The memory type of a dtype. Lives as long as the program.
[[nodiscard]] hid_t hdf5_type(Dtype dtype);
/// The dtype that holds every value of a stored type, if its elements are numbers.
[[nodiscard]] std::optional<Dtype> dtype_of_type(hid_t type);
/// "f32", "i16 big-endian", "string", "compound", ...
[[nodiscard]] std::string type_text(hid_t type);
/// The value of an open attribute, as Hdf5File::attribute() says.
[[nodiscard]] std::string attribute_text(hid_t attribute);

}  // namespace lockstep::data
