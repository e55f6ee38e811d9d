// Deals samples out as microbatches. An epoch has one global order, f(seed, epoch); microbatch j of step t
// covers positions
// [(t * G + j) * m, ... + m) of the endless sequence of epochs' orders, whatever the number of ranks; a rank
// takes a contiguous range of j. Reading, decoding and augmentation run ahead in a background thread into
// reusable buffers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/options.h"
#include "core/shape.h"
#include "data/dataset.h"

namespace lockstep::data {

/// A rank's part of every step: microbatches [first, first + count) of the `per_step` global ones.
struct Shard {
  std::int64_t first = 0;
  std::int64_t count = 1;
  std::int64_t per_step = 1;
};
/// Contiguous, as even as possible (the first ranks take one more).
[[nodiscard]] Shard shard_of(int rank, int ranks, std::int64_t microbatches_per_step);

/// What becomes of the samples of an epoch that do not fill a step: `drop` them (the next epoch reshuffles),
/// or `wrap`: the step takes the missing ones from the start of the same epoch's order. Stated in the log.
enum class Tail : std::uint8_t { drop, wrap };

/// One microbatch, ready to feed: dense [microbatch, ...] host arrays in the dtypes of the model's input and
/// target.
struct Microbatch {
  const void* input = nullptr;
  const void* target = nullptr;
  std::int64_t first_position =
      0;                  ///< (t * G + j) * m: the global sample number that keys dropout and augmentation
  std::int64_t rows = 0;  ///< samples that count (fewer than the microbatch in the last one of an evaluation)
  std::vector<std::int64_t> indices;  ///< the samples, for reports
  std::int64_t epoch = 0;
};

/// Tells the model what it will be fed.
struct LoaderSpec {
  Shape input, target;  ///< of one sample
  Dtype input_dtype = Dtype::f32, target_dtype = Dtype::i32;
  std::int64_t classes = 0;
  std::int64_t samples = 0;
  std::int64_t steps_per_epoch = 0;
};

class Loader {
 public:
  virtual ~Loader() = default;
  [[nodiscard]] virtual const LoaderSpec& spec() const noexcept = 0;
  /// The next microbatch of this shard: (step, j), (step, j + 1), ..., (step + 1, first), ... Blocks until
  /// read. The arrays stay valid until `keep` further calls of next().
  [[nodiscard]] virtual const Microbatch& next() = 0;
  /// Goes to the first microbatch of this shard in step `step` without reading what lies before.
  virtual void seek(std::int64_t step) = 0;
  /// Seconds next() has waited for data since the loader was made.
  [[nodiscard]] virtual double waited_s() const = 0;
};

/// How samples become inputs (section "data" of the config, augmentation included). Declared in
/// loader_settings().
struct LoaderOptions {
  std::uint64_t seed = 0;
  std::int64_t microbatch = 1;
  Shard shard;
  Tail tail = Tail::drop;
  bool train = true;  ///< shuffle and augment; false: fixed order, one pass over the samples, the last
                      ///< microbatch padded
  int keep = 2;       ///< microbatches that stay valid
  int prefetch = 4;   ///< microbatches read ahead
};

/// The settings a loader reads from its Options: augmentation, normalisation, layout of the target.
[[nodiscard]] std::span<const Setting> loader_settings();

/// The data set must outlive the loader. Throws Fault::config for an impossible combination (more shards than
/// microbatches, ...).
[[nodiscard]] std::unique_ptr<Loader> make_loader(const Dataset& dataset, const Options& settings,
                                                  const LoaderOptions& options);

/// Opens one HDF5 file, several, or a glob as one data set. `split` picks a group ("train", "test",
/// "validation"). Throws Fault::data naming file and cure.
[[nodiscard]] std::unique_ptr<Dataset> open_hdf5(const std::vector<std::string>& files,
                                                 const std::string& split);

}  // namespace lockstep::data
