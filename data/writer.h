// Writes data sets as docs/data-format.md describes: a group per split, a dataset per tensor with one row per
// sample, facts as attributes; one file, or many of a fixed number of samples. A set appears whole or not at
// all: files are written aside and renamed at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/options.h"
#include "data/dataset.h"

namespace lockstep::data {

struct WriterOptions {
  std::string path;                   ///< "set.h5"; many files become "set-train-00000.h5", ...
  int deflate = 4;                    ///< 0 none ... 9 smallest
  std::int64_t chunk_samples = 0;     ///< rows compressed together; 0: about 64 KiB
  std::int64_t samples_per_file = 0;  ///< 0: all splits in one file
};

/// What was written.
struct Written {
  std::vector<std::string> files;
  std::vector<std::pair<std::string, std::int64_t>> splits;  ///< name, rows
  std::string unit = "samples";                              ///< what a row is; "tokens" of a text
};

class SetWriter {
 public:
  /// Throws Fault::data when the file cannot be made.
  explicit SetWriter(const WriterOptions& options);
  /// From kOutputSettings (tools.h), with the facts they state.
  explicit SetWriter(const Options& settings);
  SetWriter(const SetWriter&) = delete;
  SetWriter& operator=(const SetWriter&) = delete;
  /// Removes what was written unless finish() ran.
  ~SetWriter();

  /// Facts that every file carries. Give them before finish().
  void fact(const std::string& key, const std::string& text);
  void fact(const std::string& key, std::span<const double> numbers);
  void fact(const std::string& key, std::int64_t number);

  /// What follows belongs to split `name`.
  void begin_split(const std::string& name, const std::vector<TensorSpec>& tensors);
  /// Adds `count` samples: a block [count, shape...] per tensor, in the order of begin_split().
  void append(std::int64_t count, std::span<const std::byte* const> tensors);

  /// Writes everything out and gives the files their names. Throws Fault::data when a split has no samples or
  /// the disk refuses.
  [[nodiscard]] Written finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The bytes of a vector or array, as append() takes them.
template <class T>
[[nodiscard]] const std::byte* bytes_of(const std::vector<T>& values) {
  return reinterpret_cast<const std::byte*>(values.data());
}

}  // namespace lockstep::data
