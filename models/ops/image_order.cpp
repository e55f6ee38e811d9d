#include "models/ops/image_order.h"

#include <span>
#include <string>

namespace lockstep::models {
namespace {

class ChannelsLast final : public StorageOrder {
 public:
  explicit ChannelsLast(const Shape& shape)
      : images_(shape[0]), channels_(shape[1]), pixels_(shape[2] * shape[3]) {}

  [[nodiscard]] std::int64_t stored_count() const noexcept override { return images_ * channels_ * pixels_; }
  void to_storage(std::span<const float> canonical, std::span<float> stored) const override {
    transpose(canonical.data(), stored.data(), channels_, pixels_);
  }
  void to_canonical(std::span<const float> stored, std::span<float> canonical) const override {
    transpose(stored.data(), canonical.data(), pixels_, channels_);
  }
  [[nodiscard]] std::string name() const override { return "channels_last"; }

 private:
  void transpose(const float* from, float* to, std::int64_t rows, std::int64_t columns) const {
    for (std::int64_t n = 0; n < images_; ++n, from += rows * columns, to += rows * columns)
      for (std::int64_t column = 0; column < columns; ++column)
        for (std::int64_t row = 0; row < rows; ++row) to[column * rows + row] = from[row * columns + column];
  }
  std::int64_t images_, channels_, pixels_;
};

}  // namespace

StorageOrderPtr image_order(const Shape& shape) {
  if (shape.rank() != 4 || shape[1] == 1 || shape[2] * shape[3] == 1) return nullptr;
  return std::make_shared<ChannelsLast>(shape);
}

TensorLayout activation(const Shape& shape, Dtype dtype) { return {shape, dtype, image_order(shape)}; }

Rows rows_of(const Shape& shape) {
  const std::int64_t width = shape.rank() == 4 ? shape[1] : shape[shape.rank() - 1];
  return {width == 0 ? 0 : shape.count() / width, width};
}

}  // namespace lockstep::models
