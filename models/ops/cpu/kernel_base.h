// What every kernel of this backend shares: it runs as one task of the CPU stream on the backend's number of
// library threads.
#pragma once

#include <memory>
#include <span>

#include "models/ops/bound_kernel.h"

namespace lockstep::models::cpu {

class CpuKernel : public BoundKernel {
 public:
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
  [[nodiscard]] float* slot(const FlatSpan& array, std::size_t i) const {
    return BoundKernel::slot<float>(array, i);
  }
  template <class T>
  [[nodiscard]] const T* weight(const Pass& pass, std::size_t i) const {
    const FlatSpan& array = sizeof(T) == sizeof(float) ? pass.values : pass.working;
    return BoundKernel::slot<const T>(array, i);
  }

 private:
  void use_threads() const;
  int threads_;
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
