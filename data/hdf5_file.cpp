#include "data/hdf5_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/hdf5_types.h"

namespace lockstep::data {
namespace {

Error cannot(const std::string& verb, const std::string& path, const std::string& object) {
  return {Fault::data, fmt::format("cannot {} '{}' in '{}': {}", verb, object, path, hdf5_reason()),
          "check free space and that the file is not damaged"};
}

/// What the system itself thinks of reading the file, before HDF5 gives a vaguer answer.
void check_readable(const std::string& path) {
  std::error_code failure;
  if (std::filesystem::is_directory(path, failure)) {
    throw Error(Fault::data, fmt::format("'{}' is a folder, not an HDF5 file", path), "name the file in it");
  }
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    throw Error(Fault::data, fmt::format("cannot open '{}': {}", path, std::strerror(errno)),
                "check the path; `lockstep data import` and `lockstep data generate` make data files");
  }
  ::close(descriptor);
}

/// Access properties without file locks: shared file systems of clusters often refuse them.
Hdf5Handle unlocked_access() {
  auto access = owned(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access.id(), false, true);
  return access;
}

herr_t collect_name(hid_t, const char* name, const H5L_info_t*, void* into) {
  static_cast<std::vector<std::string>*>(into)->emplace_back(name);
  return 0;
}

herr_t collect_attribute(hid_t, const char* name, const H5A_info_t*, void* into) {
  static_cast<std::vector<std::string>*>(into)->emplace_back(name);
  return 0;
}

std::string child_path(const std::string& parent, const std::string& name) {
  return parent.ends_with('/') ? parent + name : parent + '/' + name;
}

/// Every prefix of the path must be a link, or H5Oexists complains; H5Oopen tells it in one go.
H5I_type_t kind_of(hid_t file, const std::string& name) {
  const auto object = owned(H5Oopen(file, name.c_str(), H5P_DEFAULT), H5Oclose);
  return object.valid() ? H5Iget_type(object.id()) : H5I_BADID;
}

std::vector<std::string> children(hid_t file, const std::string& parent, H5I_type_t kind) {
  std::vector<std::string> names;
  hsize_t start = 0;
  H5Literate_by_name(file, parent.c_str(), H5_INDEX_NAME, H5_ITER_INC, &start, collect_name, &names,
                     H5P_DEFAULT);
  std::erase_if(names,
                [&](const std::string& name) { return kind_of(file, child_path(parent, name)) != kind; });
  return names;
}

/// The number of elements, and of bytes, fits into 64 bits.
bool countable(const Shape& shape) {
  std::int64_t product = 8;
  return std::ranges::all_of(shape.extents(), [&](std::int64_t extent) {
    return extent >= 0 && !__builtin_mul_overflow(product, std::max<std::int64_t>(1, extent), &product);
  });
}

Hdf5Handle creation_properties(const Shape& shape, const Hdf5Creation& how) {
  auto properties = owned(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_fill_time(properties.id(), H5D_FILL_TIME_NEVER);
  H5Pset_obj_track_times(properties.id(), false);  // equal data makes equal files
  if (how.chunk_rows <= 0) return properties;
  std::vector<hsize_t> chunk(shape.extents().begin(), shape.extents().end());
  chunk.at(0) = static_cast<hsize_t>(how.chunk_rows);
  H5Pset_chunk(properties.id(), shape.rank(), chunk.data());
  if (how.deflate > 0) {
    H5Pset_shuffle(properties.id());
    H5Pset_deflate(properties.id(), static_cast<unsigned>(how.deflate));
  }
  return properties;
}

Hdf5Handle extents_space(const Shape& shape, bool growable) {
  if (shape.rank() == 0) return owned(H5Screate(H5S_SCALAR), H5Sclose);
  const std::vector<hsize_t> now(shape.extents().begin(), shape.extents().end());
  std::vector<hsize_t> most = now;
  if (growable) most[0] = H5S_UNLIMITED;
  return owned(H5Screate_simple(shape.rank(), now.data(), most.data()), H5Sclose);
}

/// Replaces the attribute `key` of an object by `count` values of one type.
void put_attribute(const Hdf5File::State& file, const std::string& object, const std::string& key, hid_t type,
                   std::optional<hsize_t> count, const void* values) {
  const Hdf5Guard guard;
  const hid_t id = file.handle.id();
  if (H5Aexists_by_name(id, object.c_str(), key.c_str(), H5P_DEFAULT) > 0) {
    H5Adelete_by_name(id, object.c_str(), key.c_str(), H5P_DEFAULT);
  }
  const auto space =
      count ? owned(H5Screate_simple(1, &*count, nullptr), H5Sclose) : owned(H5Screate(H5S_SCALAR), H5Sclose);
  const auto attribute = owned(H5Acreate_by_name(id, object.c_str(), key.c_str(), type, space.id(),
                                                 H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                               H5Aclose);
  if (!attribute.valid() || H5Awrite(attribute.id(), type, values) < 0) {
    throw cannot("write attribute", file.path, child_path(object, key));
  }
}

}  // namespace

Hdf5Handle::Hdf5Handle(Hdf5Handle&& other) noexcept
    : id_(std::exchange(other.id_, -1)), close_(other.close_) {}

Hdf5Handle& Hdf5Handle::operator=(Hdf5Handle&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(close_, other.close_);
  return *this;
}

Hdf5Handle::~Hdf5Handle() {
  if (id_ < 0 || close_ == nullptr) return;
  const Hdf5Guard guard;
  close_(id_);
}

Hdf5File Hdf5File::open(const std::string& path) { return open_as(path, Access::read); }

Hdf5File Hdf5File::edit(const std::string& path) { return open_as(path, Access::edit); }

Hdf5File Hdf5File::open_as(const std::string& path, Access access) {
  check_readable(path);
  const Hdf5Guard guard;  // before the first constant: HDF5's constants are calls that start the library
  if (H5Fis_hdf5(path.c_str()) <= 0) {
    throw Error(
        Fault::data, fmt::format("'{}' is not an HDF5 file", path),
        "`lockstep data import` makes HDF5 from other formats; a download that failed may have left a "
        "web page");
  }
  const unsigned how = access == Access::read ? H5F_ACC_RDONLY : H5F_ACC_RDWR;
  const auto unlocked = unlocked_access();
  auto handle = owned(H5Fopen(path.c_str(), how, unlocked.id()), H5Fclose);
  if (!handle.valid()) {
    throw Error(Fault::data, fmt::format("'{}' is a damaged or truncated HDF5 file: {}", path, hdf5_reason()),
                "copy or make the file again and compare sizes");
  }
  return Hdf5File(std::make_shared<State>(State{path, std::move(handle)}));
}

Hdf5File Hdf5File::create(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    throw Error(Fault::data, fmt::format("cannot create '{}': {}", path, std::strerror(errno)),
                "choose a folder that exists and is writable");
  }
  ::close(descriptor);
  const Hdf5Guard guard;
  const auto access = unlocked_access();
  auto handle = owned(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.id()), H5Fclose);
  if (!handle.valid()) throw cannot("create", path, "/");
  return Hdf5File(std::make_shared<State>(State{path, std::move(handle)}));
}

const std::string& Hdf5File::path() const noexcept { return state_->path; }

bool Hdf5File::has_group(const std::string& name) const {
  const Hdf5Guard guard;
  return kind_of(state_->handle.id(), name) == H5I_GROUP;
}

bool Hdf5File::has_dataset(const std::string& name) const {
  const Hdf5Guard guard;
  return kind_of(state_->handle.id(), name) == H5I_DATASET;
}

std::vector<std::string> Hdf5File::groups(const std::string& parent) const {
  const Hdf5Guard guard;
  return children(state_->handle.id(), parent, H5I_GROUP);
}

std::vector<std::string> Hdf5File::datasets(const std::string& parent) const {
  const Hdf5Guard guard;
  return children(state_->handle.id(), parent, H5I_DATASET);
}

Hdf5Array Hdf5File::dataset(const std::string& name) const {
  const Hdf5Guard guard;
  auto handle = owned(H5Dopen2(state_->handle.id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!handle.valid()) {
    throw Error(Fault::data,
                fmt::format("'{}' has no readable dataset '{}': {}", path(), name, hdf5_reason()),
                "`lockstep data info` lists what is in a file");
  }
  auto storage = describe_storage(handle.id(), path());
  if (!countable(storage.shape)) {
    throw Error(Fault::data,
                fmt::format("'{}:{}' has the impossible shape {}", path(), name, storage.shape.text()),
                "the file is damaged: copy or make it again");
  }
  return Hdf5Array(std::make_shared<Hdf5Array::State>(
      Hdf5Array::State{state_, name, std::move(handle), std::move(storage)}));
}

std::vector<std::string> Hdf5File::attributes(const std::string& object) const {
  const Hdf5Guard guard;
  std::vector<std::string> names;
  hsize_t start = 0;
  H5Aiterate_by_name(state_->handle.id(), object.c_str(), H5_INDEX_NAME, H5_ITER_INC, &start,
                     collect_attribute, &names, H5P_DEFAULT);
  return names;
}

std::optional<std::string> Hdf5File::attribute(const std::string& object, const std::string& key) const {
  const Hdf5Guard guard;
  if (H5Aexists_by_name(state_->handle.id(), object.c_str(), key.c_str(), H5P_DEFAULT) <= 0) return {};
  const auto attribute = owned(
      H5Aopen_by_name(state_->handle.id(), object.c_str(), key.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  return attribute.valid() ? attribute_text(attribute.id()) : "(unreadable)";
}

void Hdf5File::make_group(const std::string& name) {
  const Hdf5Guard guard;
  const auto group =
      owned(H5Gcreate2(state_->handle.id(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  if (!group.valid()) throw cannot("make group", path(), name);
}

Hdf5Array Hdf5File::make_dataset(const std::string& name, Dtype dtype, const Shape& shape,
                                 const Hdf5Creation& how) {
  {
    const Hdf5Guard guard;
    const auto space = extents_space(shape, how.chunk_rows > 0);
    const auto properties = creation_properties(shape, how);
    const auto made = owned(H5Dcreate2(state_->handle.id(), name.c_str(), hdf5_type(dtype), space.id(),
                                       H5P_DEFAULT, properties.id(), H5P_DEFAULT),
                            H5Dclose);
    if (!made.valid()) throw cannot("make dataset", path(), name);
  }
  return dataset(name);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& key, const std::string& text) {
  const Hdf5Guard guard;
  const auto type = owned(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.id(), H5T_VARIABLE);
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  const char* value = text.c_str();
  put_attribute(*state_, object, key, type.id(), {}, &value);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& key,
                             std::span<const double> numbers) {
  const Hdf5Guard guard;
  put_attribute(*state_, object, key, H5T_NATIVE_DOUBLE, numbers.size(), numbers.data());
}

void Hdf5File::set_attribute(const std::string& object, const std::string& key, std::int64_t number) {
  const Hdf5Guard guard;
  put_attribute(*state_, object, key, H5T_NATIVE_INT64, {}, &number);
}

void Hdf5File::flush() {
  const Hdf5Guard guard;
  if (H5Fflush(state_->handle.id(), H5F_SCOPE_LOCAL) < 0) throw cannot("write", path(), "/");
}

}  // namespace lockstep::data
