// The extents of a dense tensor, outermost first.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace lockstep {

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) : extents_(extents) {}
  explicit Shape(std::vector<std::int64_t> extents) : extents_(std::move(extents)) {}

  [[nodiscard]] int rank() const noexcept { return static_cast<int>(extents_.size()); }
  [[nodiscard]] std::int64_t operator[](int axis) const noexcept {
    return extents_[static_cast<std::size_t>(axis)];
  }
  [[nodiscard]] const std::vector<std::int64_t>& extents() const noexcept { return extents_; }
  /// Number of elements: the product of the extents, 1 for a scalar.
  [[nodiscard]] std::int64_t count() const noexcept {
    std::int64_t product = 1;
    for (auto extent : extents_) product *= extent;
    return product;
  }
  /// "[64, 3, 32, 32]".
  [[nodiscard]] std::string text() const;
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::vector<std::int64_t> extents_;
};

}  // namespace lockstep
