// What kernels of every fast backend share: their output, their work and their memory.
#pragma once

#include <cstddef>

#include "models/ops/kernel.h"
#include "models/ops/request.h"

namespace lockstep::models {

class BoundKernel : public Kernel {
 public:
  [[nodiscard]] TensorLayout output() const final { return output_; }
  [[nodiscard]] Work work() const final { return work_; }
  void bind(const Bindings& bindings) final { bound_ = bindings; }

 protected:
  BoundKernel(const Site& site, TensorLayout output);

  [[nodiscard]] const Bindings& bound() const noexcept { return bound_; }
  template <class T>
  [[nodiscard]] const T* in(std::size_t i = 0) const {
    return static_cast<const T*>(bound_.inputs[i]);
  }
  template <class T>
  [[nodiscard]] T* out() const {
    return static_cast<T*>(bound_.output);
  }
  template <class T>
  [[nodiscard]] T* out_gradient() const {
    return static_cast<T*>(bound_.output_gradient);
  }
  /// Null when nobody wants it.
  template <class T>
  [[nodiscard]] T* in_gradient(std::size_t i = 0) const {
    return static_cast<T*>(bound_.input_gradients[i].data);
  }
  [[nodiscard]] bool adds(std::size_t i = 0) const { return bound_.input_gradients[i].add; }
  template <class T>
  [[nodiscard]] T* saved(std::size_t offset = 0) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(bound_.saved) + offset);
  }
  template <class T>
  [[nodiscard]] T* workspace(std::size_t offset = 0) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(bound_.workspace) + offset);
  }
  /// Slot `i` in one of the pass's arrays, whatever its dtype.
  template <class T>
  [[nodiscard]] T* slot(const FlatSpan& array, std::size_t i) const {
    return reinterpret_cast<T*>(array.at(bound_.parameters[i]));
  }
  [[nodiscard]] float* state(const FlatSpan& array, std::size_t i) const {
    return reinterpret_cast<float*>(array.at(bound_.states[i]));
  }

 private:
  TensorLayout output_;
  Work work_;
  Bindings bound_;
};

/// Rounds up to the alignment of scratch sub-blocks.
[[nodiscard]] constexpr std::size_t padded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace lockstep::models
