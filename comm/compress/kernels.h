// What a device offers to compressors besides codecs: loops over packed arrays. All enqueue on the stream and
// work on spans of its device. A new device is a folder that fills in a Kernels and makes codecs, and one row
// in backends.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "comm/compress/codec.h"
#include "core/flat_span.h"
#include "core/stream.h"

namespace lockstep::comm {

/// The most elements a selection keeps of each run, and where the run lies in the packed array.
struct Selection {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t keep = 0;
};

/// A row-major matrix [rows, columns] inside an array, from element `first`.
struct Matrix {
  std::int64_t first = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

/// Integers shared by ranks: codes of -levels to levels in fields of `bits`.
struct Grid {
  int bits = 8;
  int levels = 1;
  bool stochastic = false;
};

/// Runs of the packed array, for kernels that treat each on its own.
struct RunList {
  /// What a device keeps of a list from its first use on: a copy in its memory, room to work in.
  struct Notes {
    Notes() = default;
    Notes(const Notes&) = delete;
    Notes& operator=(const Notes&) = delete;
    virtual ~Notes() = default;
  };
  explicit RunList(std::vector<Selection> runs) : list(std::move(runs)) {}
  std::vector<Selection> list;
  mutable std::unique_ptr<Notes> notes;
};
using Runs = std::shared_ptr<const RunList>;
[[nodiscard]] inline Runs make_runs(std::vector<Selection> runs) {
  return std::make_shared<const RunList>(std::move(runs));
}

struct Kernels {
  /// Keeps or gives back: *verdict != 0 ? settled = current : current = settled.
  void (*settle)(FlatSpan settled, FlatSpan current, FlatSpan verdict, Stream& stream);
  /// *verdict (i32) = 1 when *skip (i32) is 0, else 0.
  void (*accept)(const std::int32_t* skip, FlatSpan verdict, Stream& stream);
  /// values = factor * gradient + (*verdict != 0 ? values : residual); residual takes the latter. Adds the
  /// number of values that are not finite to *nonfinite. Factor 0 reads no gradient.
  void (*add_residual)(FlatSpan gradient, FlatSpan residual, FlatSpan values, float factor, FlatSpan verdict,
                       FlatSpan nonfinite, Stream& stream);
  /// to = factor * from; counts as above when nonfinite.count is 1.
  void (*scaled)(FlatSpan from, FlatSpan to, float factor, FlatSpan nonfinite, Stream& stream);
  /// x = 0 when *flag (i64) is not 0.
  void (*clear_if)(FlatSpan x, FlatSpan flag, Stream& stream);

  /// Indices (u32 as i32, ascending within a run) of the `keep` elements of largest magnitude of each run;
  /// equal magnitudes: the lower index.
  void (*select)(FlatSpan values, Runs runs, FlatSpan indices, Stream& stream);
  /// picked[j] = values[indices[j]].
  void (*pick)(FlatSpan values, FlatSpan indices, FlatSpan picked, Stream& stream);
  /// values[indices[j]] = 0.
  void (*clear_at)(FlatSpan values, FlatSpan indices, Stream& stream);
  /// values[indices[j]] = placed[j].
  void (*place)(FlatSpan placed, FlatSpan indices, FlatSpan values, Stream& stream);
  /// Indices (ascending) of `keep` random elements of each run, one from each of `keep` equal stretches.
  void (*draw)(Runs runs, std::uint32_t key, FlatSpan indices, Stream& stream);
  /// values[indices[j]] += factor * picked[j].
  void (*add_at)(FlatSpan picked, FlatSpan indices, FlatSpan values, float factor, Stream& stream);

  /// Bit i % 32 of words[i / 32] (i32) is set for the `indices` (ascending), and no other one.
  void (*to_bitmap)(FlatSpan indices, FlatSpan words, Stream& stream);
  /// Indices of the bits that are set, ascending: `keep` in each of the runs (which ascend), none elsewhere.
  void (*from_bitmap)(FlatSpan words, Runs runs, FlatSpan indices, Stream& stream);

  /// Largest and mean magnitude of each run; values of run i times factors[i].
  void (*largest_magnitudes)(FlatSpan values, Runs runs, FlatSpan out, Stream& stream);
  void (*mean_magnitudes)(FlatSpan values, Runs runs, FlatSpan out, Stream& stream);
  void (*scale_runs)(FlatSpan values, Runs runs, FlatSpan factors, Stream& stream);
  /// The step of each run's grid from the largest magnitudes of all ranks.
  void (*grid_steps)(FlatSpan everyones, Grid grid, FlatSpan steps, Stream& stream);
  /// Codes of the values as fields of i32 words; values become what rounding lost.
  void (*to_grid)(FlatSpan values, Runs runs, FlatSpan steps, Grid grid, std::uint32_t key, FlatSpan codes,
                  Stream& stream);
  /// mean = (sum of codes of `ranks` ranks) * step / ranks.
  void (*from_grid)(FlatSpan codes, Runs runs, FlatSpan steps, Grid grid, int ranks, FlatSpan mean,
                    Stream& stream);

  /// P = M Q for each matrix: Q and P hold `rank` columns, each contiguous.
  void (*times_right)(FlatSpan values, Matrix matrix, FlatSpan q, FlatSpan p, int rank, Stream& stream);
  /// Q = M^T P.
  void (*times_left)(FlatSpan values, Matrix matrix, FlatSpan p, FlatSpan q, int rank, Stream& stream);
  /// Makes the columns of P [rows, rank] orthonormal; a column that vanishes becomes zero.
  void (*orthonormalise)(FlatSpan p, std::int64_t rows, int rank, Stream& stream);
  /// values = keep * values + factor * P Q^T.
  void (*add_product)(FlatSpan p, FlatSpan q, int rank, float factor, bool keep, FlatSpan values,
                      Matrix matrix, Stream& stream);
  /// Columns of Q [rows, rank] that are zero become those of `spare`: else they would stay zero for ever.
  void (*revive)(FlatSpan q, FlatSpan spare, std::int64_t rows, int rank, Stream& stream);
};

/// The kernels of `device`. Throws Fault::device when this build has none.
[[nodiscard]] const Kernels& compress_kernels(Device device);

extern const Kernels cpu_compress_kernels, cuda_compress_kernels;

}  // namespace lockstep::comm
