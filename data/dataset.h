// A data set: samples by index, each a set of named tensors. Readers are thread-safe and copy into the
// caller's buffers.
//
// A token set (one long text) is a data set of scalar samples "tokens": sample i is token i. The loader makes
// windows of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"

namespace lockstep::data {

/// One tensor of a sample: "image" u8 [3, 32, 32], "label" i32 [], "tokens" u16 [], "field" f32 [1, 64, 128].
struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::f32;
  Shape shape;
  [[nodiscard]] std::size_t bytes() const { return static_cast<std::size_t>(shape.count()) * size_of(dtype); }
};

/// Destination of a read: one host block per tensor of sample(), each [indices.size(), shape...]. A null
/// block skips its tensor.
struct SampleBuffers {
  std::vector<std::byte*> tensors;
};

/// Samples [first, first + count) of a data set come from the file `path`.
struct FileRange {
  std::string path;
  std::int64_t first = 0;
  std::int64_t count = 0;
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  [[nodiscard]] virtual std::int64_t size() const noexcept = 0;
  [[nodiscard]] virtual std::span<const TensorSpec> sample() const noexcept = 0;
  /// Copies the samples `indices` (any order, repeats allowed). Thread-safe. Throws Fault::data naming file
  /// and sample.
  virtual void read(std::span<const std::int64_t> indices, SampleBuffers& into) const = 0;
  /// Facts stored with the data: "classes", "class_names" (one a line), "mean", "deviation" (separated by
  /// ", "), "tokenizer", ...; text, empty when absent.
  [[nodiscard]] virtual std::string fact(std::string_view key) const = 0;
  /// Number of classes or vocabulary size; 0 for fields.
  [[nodiscard]] virtual std::int64_t classes() const = 0;
  /// The files in sample order; their ranges tile [0, size()).
  [[nodiscard]] virtual std::span<const FileRange> files() const noexcept = 0;

  /// "train.h5, sample 17 of split 'train'": how to name sample `index` in an error.
  [[nodiscard]] virtual std::string where(std::int64_t index) const = 0;
};

}  // namespace lockstep::data
