// Reads rows of one HDF5 dataset fast, from many threads at once, going around the HDF5 library and its lock:
// contiguous data by pread at their offset, compressed chunks as stored bytes that the calling thread
// decodes. What that cannot serve (other byte orders, other filters) is converted by the library.
// Decoded blocks (runs of rows, one chunk high) are kept in a cache, because a shuffled order comes back to
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "data/hdf5_file.h"

namespace lockstep::data {

/// Least recently used blocks of bytes within a budget. Thread-safe.
class BlockCache {
 public:
  using Block = std::shared_ptr<const std::vector<std::byte>>;
  using Key = std::pair<const void*, std::int64_t>;  ///< reader, block number

  explicit BlockCache(std::size_t budget_bytes) : budget_bytes_(budget_bytes) {}
  /// The block, made by `load` when absent. Two threads may load the same block; one result is kept.
  [[nodiscard]] Block get(const Key& key, const std::function<std::vector<std::byte>()>& load);
  [[nodiscard]] std::size_t bytes() const;

 private:
  struct Entry {
    Key key;
    Block block;
  };
  Block find(const Key& key);
  mutable std::mutex lock_;
  std::list<Entry> entries_;  ///< most recent first
  std::map<Key, std::list<Entry>::iterator> where_;
  std::size_t budget_bytes_;
  std::size_t bytes_ = 0;
};

class RowReader {
 public:
  virtual ~RowReader() = default;
  /// Copies rows [first, first + count) in the dataset's dtype. Thread-safe. Throws Fault::data naming the
  /// dataset.
  virtual void read(std::int64_t first, std::int64_t count, std::byte* into) const = 0;
};

/// The fastest reader that the dataset's layout allows. `cache` must outlive it. Throws Fault::data when the
/// elements are not numbers.
[[nodiscard]] std::unique_ptr<RowReader> make_row_reader(const Hdf5File& file, const std::string& dataset,
                                                         BlockCache& cache);

}  // namespace lockstep::data
