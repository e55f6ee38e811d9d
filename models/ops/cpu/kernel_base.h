// What every kernel of this backend shares: its output, its work, its memory, and that it runs as one task of
// the CPU stream on the backend's number of library threads.
#pragma once

#include <memory>
#include <span>

#include "models/ops/kernel.h"

namespace lockstep::models::cpu {

/// From which a kernel is made.
struct Site {
  const KernelRequest& request;
  const BackendOptions& options;

  [[nodiscard]] const Shape& input(std::size_t i = 0) const { return request.inputs[i].shape; }
  [[nodiscard]] const Shape& output() const;
  [[nodiscard]] const Node& last() const {
    return request.fused.empty() ? *request.node : *request.fused.back();
  }
  /// Nobody computes gradients of the graph's own input.
  [[nodiscard]] bool wants_input_gradient() const {
    return request.node->inputs.front() != request.graph->input();
  }
  [[nodiscard]] bool bf16() const { return options.compute == Dtype::bf16; }
};

class CpuKernel : public Kernel {
 public:
  [[nodiscard]] TensorLayout output() const final { return output_; }
  [[nodiscard]] Work work() const final { return work_; }
  void bind(const Bindings& bindings) final { bound_ = bindings; }
  void forward(const Pass& pass, Stream& stream) override;
  void backward(const Pass& pass, Stream& stream) override;

 protected:
  explicit CpuKernel(const Site& site);
  /// A loss: f32 rows whatever the compute dtype.
  CpuKernel(const Site& site, Dtype output_dtype);

  virtual void run_forward(const Pass& pass) = 0;
  virtual void run_backward(const Pass& pass) = 0;
  /// Enqueues a member call on the library threads.
  template <class Kernel>
  void enqueue(Stream& stream, Kernel* kernel, void (Kernel::*call)(const Pass&), const Pass& pass) {
    stream.host([kernel, call, &pass] {
      kernel->use_threads();
      (kernel->*call)(pass);
    });
  }

  [[nodiscard]] int threads() const noexcept { return threads_; }
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
  /// Slot `i` in one of the pass's arrays.
  [[nodiscard]] float* slot(FlatSpan array, std::size_t i) const {
    return reinterpret_cast<float*>(array.at(bound_.parameters[i]));
  }
  template <class T>
  [[nodiscard]] const T* weight(const Pass& pass, std::size_t i) const {
    const FlatSpan& array = sizeof(T) == sizeof(float) ? pass.values : pass.working;
    return reinterpret_cast<const T*>(array.at(bound_.parameters[i]));
  }
  [[nodiscard]] float* state(FlatSpan array, std::size_t i) const {
    return reinterpret_cast<float*>(array.at(bound_.states[i]));
  }

 private:
  void use_threads() const;
  TensorLayout output_;
  Work work_;
  int threads_;
  Bindings bound_;
};

/// Sets the calling thread's number of library threads while it lives: oneDNN plans a primitive for the
/// number that its maker has.
class LibraryThreads {
 public:
  explicit LibraryThreads(int threads);
  LibraryThreads(const LibraryThreads&) = delete;
  LibraryThreads& operator=(const LibraryThreads&) = delete;
  ~LibraryThreads();

 private:
  int before_;
};

/// Rounds up to the alignment of scratch sub-blocks.
[[nodiscard]] constexpr std::size_t padded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }
[[nodiscard]] constexpr std::size_t float_bytes(std::int64_t count) {
  return static_cast<std::size_t>(count) * sizeof(float);
}

/// Makes Kernel<float> or Kernel<Bf16>.
template <template <class> class K, class... Args>
[[nodiscard]] std::unique_ptr<Kernel> make_typed(const Site& site, const Args&... args) {
  if (site.bf16()) return std::make_unique<K<Bf16>>(site, args...);
  return std::make_unique<K<float>>(site, args...);
}

}  // namespace lockstep::models::cpu
