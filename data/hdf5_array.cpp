// Hdf5Array: describing, reading and writing one dataset of an HDF5 file.
#include <algorithm>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/hdf5_file.h"
#include "data/hdf5_types.h"

namespace lockstep::data {
namespace {

std::vector<hsize_t> extents_of(hid_t space) {
  const int rank = std::max(0, H5Sget_simple_extent_ndims(space));
  std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
  H5Sget_simple_extent_dims(space, extents.data(), nullptr);
  return extents;
}

Shape shape_of(const std::vector<hsize_t>& extents) {
  return Shape(std::vector<std::int64_t>(extents.begin(), extents.end()));
}

std::vector<Hdf5Filter> filters_of(hid_t properties) {
  std::vector<Hdf5Filter> filters;
  const int count = H5Pget_nfilters(properties);
  for (int i = 0; i < count; ++i) {
    unsigned flags = 0;
    unsigned config = 0;
    std::size_t values = 8;
    unsigned value[8] = {};
    char name[64] = {};
    const int id = H5Pget_filter2(properties, static_cast<unsigned>(i), &flags, &values, value, sizeof name,
                                  name, &config);
    std::string text = name[0] != 0 ? name : fmt::format("filter {}", id);
    if (id == H5Z_FILTER_DEFLATE) text = fmt::format("deflate {}", value[0]);
    filters.push_back({id, text});
  }
  return filters;
}

void describe_chunks(hid_t properties, Hdf5Storage& storage) {
  std::vector<hsize_t> chunk(static_cast<std::size_t>(storage.shape.rank()));
  H5Pget_chunk(properties, storage.shape.rank(), chunk.data());
  storage.chunk = shape_of(chunk);
  unsigned options = 0;
  H5Pget_chunk_opts(properties, &options);
  storage.whole_edge_chunks = (options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) == 0;
}

Hdf5Layout layout_of(hid_t properties) {
  switch (H5Pget_layout(properties)) {
    case H5D_CONTIGUOUS:
      return H5Pget_external_count(properties) > 0 ? Hdf5Layout::other : Hdf5Layout::contiguous;
    case H5D_CHUNKED:
      return Hdf5Layout::chunked;
    case H5D_COMPACT:
      return Hdf5Layout::compact;
    default:
      return Hdf5Layout::other;
  }
}

/// An external link leads to another file, whose offsets mean nothing in this one.
bool lies_in(hid_t dataset, const std::string& path) {
  std::string name(path.size() + 2, '\0');
  const auto length = H5Fget_name(dataset, name.data(), name.size());
  return length == static_cast<ssize_t>(path.size()) && name.compare(0, path.size(), path) == 0;
}

/// File space with rows [first, first + count) selected; a scalar has no rows to select.
Hdf5Handle select_rows(hid_t dataset, const std::vector<hsize_t>& extents, std::int64_t first,
                       std::int64_t count) {
  auto space = owned(H5Dget_space(dataset), H5Sclose);
  if (extents.empty()) return space;
  std::vector<hsize_t> start(extents.size(), 0);
  std::vector<hsize_t> block = extents;
  start[0] = static_cast<hsize_t>(first);
  block[0] = static_cast<hsize_t>(count);
  H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr, block.data(), nullptr);
  return space;
}

void check_rows(const Hdf5Array& dataset, std::int64_t first, std::int64_t count, const FlatSpan& into) {
  const auto& shape = dataset.storage().shape;
  const std::int64_t rows = shape.rank() == 0 ? 1 : shape[0];
  if (first < 0 || count < 0 || first + count > rows) {
    throw Error(Fault::data, fmt::format("rows [{}, {}) asked of {}, which has {}", first, first + count,
                                         dataset.where(), rows));
  }
  const std::int64_t elements = rows == 0 ? 0 : shape.count() / rows * count;
  if (elements != into.count) {
    throw Error(Fault::internal,
                fmt::format("{}: {} elements read into room for {}", dataset.where(), elements, into.count));
  }
}

}  // namespace

Hdf5Storage describe_storage(hid_t dataset, const std::string& path) {
  Hdf5Storage storage;
  const auto type = owned(H5Dget_type(dataset), H5Tclose);
  const auto space = owned(H5Dget_space(dataset), H5Sclose);
  const auto properties = owned(H5Dget_create_plist(dataset), H5Pclose);
  storage.shape = shape_of(extents_of(space.id()));
  storage.type = type_text(type.id());
  storage.dtype = dtype_of_type(type.id());
  if (H5Sget_simple_extent_type(space.id()) == H5S_NULL) storage.dtype.reset();
  storage.exact = storage.dtype && H5Tequal(type.id(), hdf5_type(*storage.dtype)) > 0;
  storage.layout = layout_of(properties.id());
  if (storage.layout == Hdf5Layout::chunked) describe_chunks(properties.id(), storage);
  storage.filters = filters_of(properties.id());
  const haddr_t offset = H5Dget_offset(dataset);
  if (storage.layout == Hdf5Layout::contiguous && offset != HADDR_UNDEF && lies_in(dataset, path)) {
    storage.offset = static_cast<std::int64_t>(offset);
  }
  storage.stored_bytes = static_cast<std::int64_t>(H5Dget_storage_size(dataset));
  return storage;
}

Hdf5Array::Hdf5Array(std::shared_ptr<const State> state) : state_(std::move(state)) {}

const Hdf5Storage& Hdf5Array::storage() const noexcept { return state_->storage; }

std::string Hdf5Array::where() const { return fmt::format("'{}:{}'", state_->file->path, state_->name); }

void Hdf5Array::read_rows(std::int64_t first, std::int64_t count, FlatSpan into) const {
  if (!storage().dtype) {
    throw Error(Fault::data,
                fmt::format("{} holds elements of type {}, not numbers", where(), storage().type),
                "choose another dataset");
  }
  check_rows(*this, first, count, into);
  if (into.count == 0) return;
  const Hdf5Guard guard;
  const hid_t id = state_->handle.id();
  const std::vector<hsize_t> extents(storage().shape.extents().begin(), storage().shape.extents().end());
  const auto file_space = select_rows(id, extents, first, count);
  const auto length = static_cast<hsize_t>(into.count);
  const auto memory_space = owned(H5Screate_simple(1, &length, nullptr), H5Sclose);
  const hid_t all = extents.empty() ? H5S_ALL : memory_space.id();
  if (H5Dread(id, hdf5_type(into.dtype), all, extents.empty() ? H5S_ALL : file_space.id(), H5P_DEFAULT,
              into.data) < 0) {
    throw Error(
        Fault::data,
        fmt::format("cannot read rows [{}, {}) of {}: {}", first, first + count, where(), hdf5_reason()),
        "the file is truncated or damaged, or uses a filter that this HDF5 lacks: copy it again, or "
        "repack it with h5repack");
  }
}

void Hdf5Array::read(FlatSpan into) const {
  read_rows(0, storage().shape.rank() == 0 ? 1 : storage().shape[0], into);
}

std::vector<std::byte> Hdf5Array::read_raw_chunk(std::int64_t row, std::uint32_t& skipped_filters) const {
  const Hdf5Guard guard;
  const hid_t id = state_->handle.id();
  std::vector<hsize_t> corner(static_cast<std::size_t>(storage().shape.rank()), 0);
  corner.at(0) = static_cast<hsize_t>(row);
  hsize_t bytes = 0;
  if (H5Dget_chunk_storage_size(id, corner.data(), &bytes) < 0 || bytes == 0) return {};
  std::vector<std::byte> chunk(bytes);
  if (H5Dread_chunk(id, H5P_DEFAULT, corner.data(), &skipped_filters, chunk.data()) < 0) {
    throw Error(Fault::data,
                fmt::format("cannot read the chunk at row {} of {}: {}", row, where(), hdf5_reason()),
                "the file is truncated or damaged: copy or make it again");
  }
  return chunk;
}

void Hdf5Array::write_rows(std::int64_t first, std::int64_t count, FlatSpan from) {
  const Hdf5Guard guard;
  const hid_t id = state_->handle.id();
  auto extents = extents_of(owned(H5Dget_space(id), H5Sclose).id());
  if (!extents.empty() && static_cast<hsize_t>(first + count) > extents[0]) {
    extents[0] = static_cast<hsize_t>(first + count);
    H5Dset_extent(id, extents.data());
  }
  if (from.count == 0) return;
  const auto file_space = select_rows(id, extents, first, count);
  const auto length = static_cast<hsize_t>(from.count);
  const auto memory_space = owned(H5Screate_simple(1, &length, nullptr), H5Sclose);
  const bool scalar = extents.empty();
  if (H5Dwrite(id, hdf5_type(from.dtype), scalar ? H5S_ALL : memory_space.id(),
               scalar ? H5S_ALL : file_space.id(), H5P_DEFAULT, from.data) < 0) {
    throw Error(Fault::data, fmt::format("cannot write to {}: {}", where(), hdf5_reason()),
                "check the free space of the disk");
  }
}

}  // namespace lockstep::data
