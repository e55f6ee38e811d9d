#include "data/row_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <ranges>

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"

namespace lockstep::data {
namespace {

constexpr int kDeflate = 1;  ///< HDF5's registered filter numbers
constexpr int kShuffle = 2;
/// Rows per block of a dataset that is not chunked but needs conversion.
constexpr std::int64_t kConvertBlockBytes = 1 << 18;

/// No sample is larger (a field of 2048^3 floats is half of it); a damaged shape easily is.
constexpr std::size_t kLargestRow = std::size_t{1} << 36;

std::size_t row_bytes(const Hdf5Storage& storage) {
  const std::int64_t rows = std::max<std::int64_t>(1, storage.shape[0]);
  return static_cast<std::size_t>(storage.shape.count() / rows) * size_of(*storage.dtype);
}

/// Contiguous data in the file's own element type.
class ContiguousReader final : public RowReader {
 public:
  ContiguousReader(const std::string& path, Hdf5Array array)
      : array_(std::move(array)), row_bytes_(row_bytes(array_.storage())) {
    const auto& storage = array_.storage();
    const auto bytes = static_cast<std::uintmax_t>(storage.shape[0]) * row_bytes_;
    if (static_cast<std::uintmax_t>(storage.offset) + bytes > std::filesystem::file_size(path)) {
      throw failure("the file ends before its data");
    }
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) throw failure(std::strerror(errno));
  }
  ContiguousReader(const ContiguousReader&) = delete;
  ContiguousReader& operator=(const ContiguousReader&) = delete;
  ~ContiguousReader() override {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  void read(std::int64_t first, std::int64_t count, std::byte* into) const override {
    std::size_t left = static_cast<std::size_t>(count) * row_bytes_;
    off_t at = array_.storage().offset + first * static_cast<std::int64_t>(row_bytes_);
    while (left > 0) {
      const ssize_t got = ::pread(descriptor_, into, left, at);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) throw failure(got < 0 ? std::strerror(errno) : "the file ends before its data");
      left -= static_cast<std::size_t>(got);
      into += got;
      at += got;
    }
  }

 private:
  [[nodiscard]] Error failure(const char* reason) const {
    return {Fault::data, fmt::format("cannot read {}: {}", array_.where(), reason),
            "copy or make the file again"};
  }
  Hdf5Array array_;
  std::size_t row_bytes_;
  int descriptor_ = -1;
};

/// Undoes HDF5's shuffle, which stores byte 0 of all elements, then byte 1, ...
std::vector<std::byte> unshuffle(const std::vector<std::byte>& from, std::size_t element) {
  const std::size_t count = from.size() / element;
  std::vector<std::byte> into(from.size());
  for (std::size_t byte = 0; byte < element; ++byte) {
    const std::byte* column = from.data() + byte * count;
    for (std::size_t i = 0; i < count; ++i) into[i * element + byte] = column[i];
  }
  std::copy(from.begin() + static_cast<std::ptrdiff_t>(count * element), from.end(),
            into.begin() + static_cast<std::ptrdiff_t>(count * element));
  return into;
}

/// Blocks of rows, decoded whole and kept in the cache.
class BlockReader : public RowReader {
 public:
  BlockReader(Hdf5Array array, std::int64_t block_rows, BlockCache& cache)
      : array_(std::move(array)),
        row_bytes_(row_bytes(array_.storage())),
        block_rows_(block_rows),
        cache_(cache) {}

  void read(std::int64_t first, std::int64_t count, std::byte* into) const override {
    if (row_bytes_ == 0) return;
    while (count > 0) {
      const std::int64_t number = first / block_rows_;
      const std::int64_t skip = first % block_rows_;
      const std::int64_t take = std::min(count, block_rows_ - skip);
      const auto block = cache_.get({this, number}, [&] { return load(number); });
      std::memcpy(into, block->data() + static_cast<std::size_t>(skip) * row_bytes_,
                  static_cast<std::size_t>(take) * row_bytes_);
      into += static_cast<std::size_t>(take) * row_bytes_;
      first += take;
      count -= take;
    }
  }

 protected:
  [[nodiscard]] virtual std::vector<std::byte> load(std::int64_t number) const {
    const std::int64_t first = number * block_rows_;
    const std::int64_t rows = std::min(block_rows_, array_.storage().shape[0] - first);
    std::vector<std::byte> block(static_cast<std::size_t>(rows) * row_bytes_);
    const Dtype dtype = *array_.storage().dtype;
    const auto elements = static_cast<std::int64_t>(block.size() / size_of(dtype));
    array_.read_rows(first, rows, {block.data(), elements, dtype, Device{}});
    return block;
  }

  Hdf5Array array_;
  std::size_t row_bytes_;
  std::int64_t block_rows_;

 private:
  BlockCache& cache_;
};

/// Chunks of whole rows through known filters, decoded in the calling thread.
class ChunkReader final : public BlockReader {
 public:
  using BlockReader::BlockReader;

 private:
  [[nodiscard]] std::vector<std::byte> load(std::int64_t number) const override {
    std::uint32_t skipped = 0;
    auto chunk = array_.read_raw_chunk(number * block_rows_, skipped);
    if (chunk.empty()) return BlockReader::load(number);  // never written: the library knows the fill value
    const auto& filters = array_.storage().filters;
    for (std::size_t i = filters.size(); i-- > 0;) {
      if ((skipped >> i & 1U) != 0) continue;
      chunk = filters[i].id == kShuffle ? unshuffle(chunk, size_of(*array_.storage().dtype)) : inflate(chunk);
    }
    if (chunk.size() != chunk_bytes()) throw damaged(number);
    return chunk;
  }

  [[nodiscard]] std::size_t chunk_bytes() const { return static_cast<std::size_t>(block_rows_) * row_bytes_; }

  [[nodiscard]] std::vector<std::byte> inflate(const std::vector<std::byte>& stored) const {
    std::vector<std::byte> into(chunk_bytes());
    auto length = static_cast<uLongf>(into.size());
    const int status = ::uncompress(reinterpret_cast<Bytef*>(into.data()), &length,
                                    reinterpret_cast<const Bytef*>(stored.data()), stored.size());
    if (status != Z_OK) length = 0;
    into.resize(length);
    return into;
  }

  [[nodiscard]] Error damaged(std::int64_t number) const {
    return {
        Fault::data,
        fmt::format("the compressed chunk at row {} of {} is damaged", number * block_rows_, array_.where()),
        "copy or make the file again"};
  }
};

/// Chunks hold whole rows of the memory type, through filters that ChunkReader knows.
bool chunks_decodable(const Hdf5Storage& storage) {
  const auto& shape = storage.shape.extents();
  const auto& chunk = storage.chunk.extents();
  return storage.exact && storage.layout == Hdf5Layout::chunked && storage.whole_edge_chunks &&
         std::equal(shape.begin() + 1, shape.end(), chunk.begin() + 1) &&
         std::ranges::all_of(storage.filters, [](const Hdf5Filter& filter) {
           return filter.id == kDeflate || filter.id == kShuffle;
         });
}

std::int64_t rows_per_block(const Hdf5Storage& storage) {
  if (storage.layout == Hdf5Layout::chunked) return std::max<std::int64_t>(1, storage.chunk[0]);
  const auto bytes = static_cast<std::int64_t>(std::max<std::size_t>(1, row_bytes(storage)));
  return std::max<std::int64_t>(1, kConvertBlockBytes / bytes);
}

}  // namespace

BlockCache::Block BlockCache::find(const Key& key) {
  const std::scoped_lock hold(lock_);
  const auto found = where_.find(key);
  if (found == where_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->block;
}

BlockCache::Block BlockCache::get(const Key& key, const std::function<std::vector<std::byte>()>& load) {
  if (auto block = find(key)) return block;
  const auto made = std::make_shared<const std::vector<std::byte>>(load());
  const std::scoped_lock hold(lock_);
  if (const auto found = where_.find(key); found != where_.end()) return found->second->block;
  entries_.push_front({key, made});
  where_[key] = entries_.begin();
  bytes_ += made->size();
  while (bytes_ > budget_bytes_ && entries_.size() > 1) {
    bytes_ -= entries_.back().block->size();
    where_.erase(entries_.back().key);
    entries_.pop_back();
  }
  return made;
}

std::size_t BlockCache::bytes() const {
  const std::scoped_lock hold(lock_);
  return bytes_;
}

std::unique_ptr<RowReader> make_row_reader(const Hdf5File& file, const std::string& dataset,
                                           BlockCache& cache) {
  auto array = file.dataset(dataset);
  const auto& storage = array.storage();
  if (!storage.dtype || storage.shape.rank() == 0) {
    throw Error(Fault::data,
                fmt::format("{} cannot be a tensor of samples: type {}, shape {}", array.where(),
                            storage.type, storage.shape.text()),
                "samples are numbers, one row each along the first axis");
  }
  if (row_bytes(storage) > kLargestRow) {
    throw Error(Fault::data,
                fmt::format("{} would have samples of {} bytes, shape {}", array.where(), row_bytes(storage),
                            storage.shape.text()),
                "the file is damaged: copy or make it again");
  }
  if (storage.exact && storage.offset >= 0) {
    return std::make_unique<ContiguousReader>(file.path(), std::move(array));
  }
  const std::int64_t rows = rows_per_block(storage);
  if (chunks_decodable(storage)) return std::make_unique<ChunkReader>(std::move(array), rows, cache);
  return std::make_unique<BlockReader>(std::move(array), rows, cache);
}

}  // namespace lockstep::data
