#include "models/ops/cuda/vocabulary.h"

#include <algorithm>
#include <memory>
#include <string>

#include "models/ops/image_order.h"

namespace lockstep::models::cuda {
namespace {

constexpr std::int64_t kTile = 128;

/// Rows of `width` elements, each stored in `step`; then rows of zeros.
class PaddedRows final : public StorageOrder {
 public:
  PaddedRows(std::int64_t rows, std::int64_t width, std::int64_t stored_rows, std::int64_t step)
      : rows_(rows), width_(width), stored_rows_(stored_rows), step_(step) {}

  [[nodiscard]] std::int64_t stored_count() const noexcept override { return stored_rows_ * step_; }
  void to_storage(std::span<const float> canonical, std::span<float> stored) const override {
    std::ranges::fill(stored, 0.0F);
    for (std::int64_t row = 0; row < rows_; ++row)
      std::copy_n(canonical.begin() + row * width_, width_, stored.begin() + row * step_);
  }
  void to_canonical(std::span<const float> stored, std::span<float> canonical) const override {
    for (std::int64_t row = 0; row < rows_; ++row)
      std::copy_n(stored.begin() + row * step_, width_, canonical.begin() + row * width_);
  }
  [[nodiscard]] std::string name() const override {
    return "padded:" + std::to_string(stored_rows_) + "x" + std::to_string(step_);
  }

 private:
  std::int64_t rows_, width_, stored_rows_, step_;
};

}  // namespace

std::int64_t padded_vocabulary(std::int64_t vocabulary) { return (vocabulary + kTile - 1) / kTile * kTile; }

StorageOrderPtr padded_embedding(std::int64_t vocabulary, std::int64_t width) {
  const std::int64_t padded = padded_vocabulary(vocabulary);
  if (padded == vocabulary) return nullptr;
  return std::make_shared<PaddedRows>(vocabulary, width, padded, width);
}

TensorLayout padded_logits(const Shape& shape, Dtype dtype) {
  const Rows rows = rows_of(shape);
  const std::int64_t padded = padded_vocabulary(rows.width);
  if (padded == rows.width) return {shape, dtype, nullptr};
  return {shape, dtype, std::make_shared<PaddedRows>(rows.count, rows.width, rows.count, padded)};
}

std::int64_t row_step(const TensorLayout& layout) {
  const Rows rows = rows_of(layout.shape);
  return rows.count == 0 ? rows.width : layout.stored_count() / rows.count;
}

bool is_padded_logits(const TensorLayout& layout) {
  return dynamic_cast<const PaddedRows*>(layout.storage.get()) != nullptr;
}

}  // namespace lockstep::models::cuda
