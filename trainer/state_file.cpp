#include "trainer/state_file.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "core/error.h"
#include "data/hdf5_file.h"

namespace lockstep::trainer {

namespace {

/// Runs `work`, turning data faults of the file layer into checkpoint faults.
template <class Work>
auto as_checkpoint_fault(Work&& work) {
  try {
    return work();
  } catch (const Error& error) {
    throw Error(Fault::checkpoint, error.what(), error.hint());
  }
}

void make_groups(data::Hdf5File& file, const std::string& key) {
  for (std::size_t slash = key.find('/'); slash != std::string::npos; slash = key.find('/', slash + 1)) {
    const std::string group = "/" + key.substr(0, slash);
    if (!file.has_group(group)) file.make_group(group);
  }
}

FlatSpan elements(std::vector<std::byte>& bytes, Dtype dtype, const Shape& shape) {
  return {bytes.data(), shape.count(), dtype, Device{}};
}

void read_group(const data::Hdf5File& file, const std::string& group, StateMap& state) {
  for (const std::string& name : file.datasets(group)) {
    const data::Hdf5Array array = file.dataset(group + name);
    const data::Hdf5Storage& storage = array.storage();
    if (!storage.dtype)
      throw Error(Fault::checkpoint, array.where() + " is of type " + storage.type + ", not numbers",
                  "it was not written by this program");
    StateEntry entry{*storage.dtype, storage.shape, {}};
    entry.bytes.resize(static_cast<std::size_t>(storage.shape.count()) * size_of(entry.dtype));
    if (!entry.bytes.empty()) array.read(elements(entry.bytes, entry.dtype, entry.shape));
    state.entries[(group + name).substr(1)] = std::move(entry);
  }
  for (const std::string& name : file.groups(group)) read_group(file, group + name + "/", state);
}

}  // namespace

void write_state_file(const std::string& path, const StateMap& state) {
  as_checkpoint_fault([&] {
    data::Hdf5File file = data::Hdf5File::create(path);
    for (const auto& [key, entry] : state.entries) {
      make_groups(file, key);
      data::Hdf5Array array = file.make_dataset("/" + key, entry.dtype, entry.shape);
      if (entry.bytes.empty()) continue;
      std::vector<std::byte>& bytes =
          const_cast<std::vector<std::byte>&>(entry.bytes);  // read only: FlatSpan has no const form
      const std::int64_t rows = entry.shape.rank() == 0 ? 1 : entry.shape[0];
      array.write_rows(0, rows, elements(bytes, entry.dtype, entry.shape));
    }
    file.flush();
  });
  sync_path(path);
}

StateMap read_state_file(const std::string& path) {
  return as_checkpoint_fault([&] {
    StateMap state;
    read_group(data::Hdf5File::open(path), "/", state);
    return state;
  });
}

FileSum sum_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const auto unreadable = [&] {
    return Error(Fault::checkpoint, "cannot read '" + path + "'", "check the path, and who may read it");
  };
  if (!file) throw unreadable();
  FileSum sum{0, static_cast<std::uint32_t>(crc32(0, nullptr, 0))};
  std::vector<char> block(1 << 20);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0) {
    const auto got = file.gcount();
    sum.bytes += got;
    sum.crc = static_cast<std::uint32_t>(
        crc32(sum.crc, reinterpret_cast<const Bytef*>(block.data()), static_cast<uInt>(got)));
  }
  if (file.bad()) throw unreadable();
  return sum;
}

void sync_path(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool failed = file < 0 || fsync(file) != 0;
  const int reason = errno;
  if (file >= 0) close(file);
  if (failed) {
    throw Error(Fault::checkpoint, "cannot flush '" + path + "': " + std::strerror(reason),
                "free some space on the disk");
  }
}

}  // namespace lockstep::trainer
