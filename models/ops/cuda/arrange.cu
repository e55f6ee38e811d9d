// Add, and flatten: what a sum or a change of order needs and nothing more. A sum's gradient is passed on
// where it lies; flattening is free unless an image has to leave channels-last order.
#include <variant>

#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/lot.cuh"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

template <class T, int kCount>
__global__ void add_kernel(const T* a, const T* b, T* y, std::int64_t lots) {
  for (std::int64_t lot = first_item(); lot < lots; lot += stride()) {
    auto v = Lot<T, kCount>::load(a + lot * kCount);
    const auto w = Lot<T, kCount>::load(b + lot * kCount);
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      v.values[i] = from_float<T>(to_float(v.values[i]) + to_float(w.values[i]));
    v.store(y + lot * kCount);
  }
}

template <class T>
class AddKernel final : public CudaKernel {
 public:
  explicit AddKernel(const Site& site) : CudaKernel(site), count_(site.output().count()) {}

  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] bool in_place() const override { return true; }
  [[nodiscard]] bool gradient_in_place(int) const override { return true; }

  void forward(const Pass&, Stream& stream) override {
    if (count_ == 0) return;
    with_lots<T>(count_, true, [&](auto lot) {
      constexpr int kCount = decltype(lot)::value;
      add_kernel<T, kCount><<<blocks_for(count_ / kCount, device()), kBlockThreads, 0, native(stream)>>>(
          in<T>(0), in<T>(1), out<T>(), count_ / kCount);
    });
    check_launch("add");
  }
  /// One gradient may lie where dy lies: passing it on is nothing to do.
  void backward(const Pass&, Stream& stream) override {
    for (std::size_t i : {0, 1}) {
      if (in_gradient<T>(i) != nullptr)
        pass_on(out_gradient<T>(), in_gradient<T>(i), count_, compute(), adds(i), {device(), native(stream)});
    }
  }

 private:
  std::int64_t count_;
};

/// to (+)= from, [images, rows, columns] transposed to [images, columns, rows].
template <class T>
__global__ void transpose_kernel(const T* from, T* to, std::int64_t count, std::int64_t rows,
                                 std::int64_t columns, bool add) {
  for (std::int64_t i = first_item(); i < count; i += stride()) {
    const std::int64_t image = i / (rows * columns), rest = i % (rows * columns);
    const T v = from[(image * rows + rest % rows) * columns + rest / rows];
    to[i] = add ? from_float<T>(to_float(to[i]) + to_float(v)) : v;
  }
}

template <class T>
class FlattenKernel final : public CudaKernel {
 public:
  explicit FlattenKernel(const Site& site) : CudaKernel(site), count_(site.output().count()) {
    const Shape& shape = site.input();
    if (site.request.inputs.front().storage) channels_ = shape[1], pixels_ = shape[2] * shape[3];
  }

  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] bool in_place() const override { return channels_ == 0; }

  void forward(const Pass&, Stream& stream) override { move(in<T>(), out<T>(), false, true, stream); }
  void backward(const Pass&, Stream& stream) override {
    if (in_gradient<T>() != nullptr) move(out_gradient<T>(), in_gradient<T>(), adds(), false, stream);
  }

 private:
  void move(const T* from, T* to, bool add, bool out_of_image, Stream& stream) const {
    if (channels_ == 0) return pass_on(from, to, count_, compute(), add, {device(), native(stream)});
    transpose_kernel<<<blocks_for(count_, device()), kBlockThreads, 0, native(stream)>>>(
        from, to, count_, out_of_image ? pixels_ : channels_, out_of_image ? channels_ : pixels_, add);
    check_launch("flatten");
  }

  std::int64_t count_, channels_ = 0, pixels_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> make_add(const Site& site) { return make_typed<AddKernel>(site); }
std::unique_ptr<Kernel> make_flatten(const Site& site) { return make_typed<FlattenKernel>(site); }

}  // namespace lockstep::models::cuda
