// A data set: samples by index, each a set of named tensors. Readers are thread-safe and copy into the
// caller's buffers.
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

/// One tensor of a sample: "image" u8 [3, 32, 32], "label" i32 [], "tokens" u16 [65], "field" f32 [1, 64,
/// 128].
struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::f32;
  Shape shape;
  [[nodiscard]] std::size_t bytes() const { return static_cast<std::size_t>(shape.count()) * size_of(dtype); }
};

/// Destination of a read: one host block per tensor of sample(), each [indices.size(), shape...].
struct SampleBuffers {
  std::vector<std::byte*> tensors;
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  [[nodiscard]] virtual std::int64_t size() const noexcept = 0;
  [[nodiscard]] virtual std::span<const TensorSpec> sample() const noexcept = 0;
  /// Copies the samples `indices` (any order, repeats allowed). Thread-safe. Throws Fault::data naming file
  /// and sample.
  virtual void read(std::span<const std::int64_t> indices, SampleBuffers& into) const = 0;
  /// Facts stored with the data: "classes", "class_names", "mean", "deviation", "tokenizer", ...; text, empty
  /// when absent.
  [[nodiscard]] virtual std::string fact(std::string_view key) const = 0;
  /// Number of classes or vocabulary size; 0 for fields.
  [[nodiscard]] virtual std::int64_t classes() const = 0;
};

}  // namespace lockstep::data
