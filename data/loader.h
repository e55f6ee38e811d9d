// Deals samples out as microbatches. An epoch has one global order, f(seed, epoch); microbatch j of step t
// covers positions [(t * G + j) * m, ... + m) of the endless sequence of epochs' orders, whatever the number
// of ranks; a rank takes a contiguous range of j. Reading, decoding and augmentation run ahead in background
// threads into reusable buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/shape.h"
#include "data/dataset.h"

namespace lockstep::data {

/// A rank's part of every step: microbatches [first, first + count) of the `per_step` global ones.
struct Shard {
  std::int64_t first = 0;
  std::int64_t count = 1;
  std::int64_t per_step = 1;
  int rank = 0;  ///< who takes it, of how many: only files pinned to ranks need to know
  int ranks = 1;
};
/// Contiguous, as even as possible (the first ranks take one more). Throws Fault::config when there are more
/// ranks than microbatches.
[[nodiscard]] Shard shard_of(int rank, int ranks, std::int64_t microbatches_per_step);

/// What becomes of the samples of an epoch that do not fill a step: `drop` them (the next epoch reshuffles),
/// or `wrap`: the step takes the missing ones from the start of the same epoch's order. LoaderSpec::tail_note
/// says it.
enum class Tail : std::uint8_t { drop, wrap };

/// Steps of an epoch of `samples` when each takes `per_step` of them.
[[nodiscard]] std::int64_t steps_of(std::int64_t samples, std::int64_t per_step, Tail tail);

/// Targets that no loss counts, and the default `ignore_index` of the loss: tokens that a padded window
/// repeats.
inline constexpr std::int32_t kIgnoredTarget = -100;

/// One microbatch, ready to feed: dense [microbatch, ...] host arrays in the dtypes of the model's input and
/// target.
struct Microbatch {
  const void* input = nullptr;
  const void* target = nullptr;
  /// (t * G + j) * m: the global sample number that keys dropout and augmentation
  std::int64_t first_position = 0;
  /// Samples that count: all when training; fewer, or none, at the end of an evaluation.
  std::int64_t rows = 0;
  std::vector<std::int64_t> indices;  ///< the `rows` samples that count, for reports
  std::int64_t epoch = 0;
};

/// Tells the model what it will be fed.
struct LoaderSpec {
  Shape input, target;  ///< of one sample
  Dtype input_dtype = Dtype::f32, target_dtype = Dtype::i32;
  std::int64_t classes = 0;  ///< labels or vocabulary size; 0 for fields
  std::int64_t samples = 0;  ///< samples, or windows of a token set
  std::int64_t steps_per_epoch = 0;
  std::string tail_note;  ///< a sentence for the log on samples that fill no step; empty when all do
};

class Loader {
 public:
  virtual ~Loader() = default;
  [[nodiscard]] virtual const LoaderSpec& spec() const noexcept = 0;
  /// The next microbatch of this shard: (step, j), (step, j + 1), ..., (step + 1, first), ... Blocks until
  /// read. The arrays stay valid until `keep` further calls of next(), and until seek(). After the last
  /// sample of an evaluation come microbatches with no rows, until seek(). Throws what reading threw
  /// (Fault::data), at every further call too, until seek().
  [[nodiscard]] virtual const Microbatch& next() = 0;
  /// Goes to the first microbatch of this shard in step `step` without reading what lies before.
  virtual void seek(std::int64_t step) = 0;
  /// Seconds next() has waited for data since the loader was made.
  [[nodiscard]] virtual double waited_s() const = 0;
};

/// How samples are dealt.
struct LoaderOptions {
  std::uint64_t seed = 0;
  std::int64_t microbatch = 1;
  Shard shard = {};
  Tail tail = Tail::drop;
  bool train = true;  ///< shuffle and augment; false: fixed order, one pass over the samples, the last
                      ///< microbatch padded
  int keep = 2;       ///< microbatches that stay valid
  int prefetch = 4;   ///< microbatches read ahead
  /// Makes the memory of the fed arrays; empty: plain host memory.
  std::function<Memory(std::size_t)> allocate = {};
};

/// The keys of section "data" that say how samples become inputs: choice of tensors, normalisation,
/// augmentation, windows, down-sampling, sharding, threads. Which files and splits is the caller's to
/// declare.
[[nodiscard]] std::span<const Setting> loader_settings();

/// Settings "tail" and "cache_mb" as the arguments they become.
[[nodiscard]] Tail tail_of(const Options& settings);
[[nodiscard]] std::size_t cache_bytes_of(const Options& settings);

/// What a loader over this data set will deal out: samples, or windows of a token set. Opens no thread; the
/// spec's steps_per_epoch and tail_note are not filled in.
[[nodiscard]] LoaderSpec describe_samples(const Dataset& dataset, const Options& settings, bool train);

/// The data set must outlive the loader. Throws Fault::config for an impossible combination (more shards than
/// microbatches, ...).
[[nodiscard]] std::unique_ptr<Loader> make_loader(const Dataset& dataset, const Options& settings,
                                                  const LoaderOptions& options);

/// Decoded data that a data set keeps in memory at most, unless told otherwise.
inline constexpr std::size_t kDefaultCacheBytes = std::size_t{512} << 20;

/// Opens one HDF5 file, several, or globs as one data set, in the order given (globs sorted). `split` picks a
/// group ("train", "test", "validation", or "/" for the top); files without it are left out when others have
/// it. Throws Fault::data naming file and cure; `split_key` is the setting that names the split.
[[nodiscard]] std::unique_ptr<Dataset> open_hdf5(const std::vector<std::string>& files,
                                                 const std::string& split,
                                                 std::size_t cache_bytes = kDefaultCacheBytes,
                                                 const std::string& split_key = "data.split");

}  // namespace lockstep::data
