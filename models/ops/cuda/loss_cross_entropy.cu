// Softmax cross-entropy over rows of K logits (samples, tokens or pixels: channels-last images are rows of
// classes; rows may be padded). Forward reads the logits once, keeping the sum of exponentials in two parts
// (a power of 2 near the largest, and the rest): one number would lose the small one at large logits.
// Backward makes the probabilities again, also where the gradient overwrites the logits. Where nobody asks
// for the logits after forward, forward makes the gradient at once, while a row still lies in the cache. A
// label that is no class makes its row NaN, which stops the run as diverged.
#include <variant>

#include "models/ops/cuda/cross_entropy_row.cuh"
#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/loss_share.cuh"
#include "models/ops/cuda/vocabulary.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

__device__ __forceinline__ bool counts(std::int64_t row, std::int64_t target, const Rowset& set) {
  return row < set.counted && target != set.ignored;
}

template <class T, int kCount, bool kBlock>
__global__ void forward_kernel(const T* x, const std::int32_t* targets, float* losses, Normaliser* saved,
                               Rowset set) {
  const std::int64_t row = own_row<kBlock>();
  if (row >= set.rows) return;
  RowLoss result{kIgnoredRow, {0, 0}};
  if (counts(row, targets[row], set))
    result = row_loss<T, kCount, kBlock>(x + row * set.step, targets[row], set);
  if (lane_of_row<kBlock>() != 0) return;
  losses[row] = result.loss;
  saved[row] = result.normaliser;
}

template <class T, int kCount, bool kBlock>
__global__ void backward_kernel(const T* x, const std::int32_t* targets, const float* losses,
                                const Normaliser* saved, const float* share, T* dx, bool add, Rowset set) {
  const std::int64_t row = own_row<kBlock>();
  if (row >= set.rows) return;
  const float loss = losses[row];
  const float factor = loss == kIgnoredRow ? 0.0F : isnan(loss) ? loss : *share;
  store_gradient<T, kCount, kBlock>(x + row * set.step, dx + row * set.step, add, targets[row], factor,
                                    saved[row], set);
}

/// Both at once.
template <class T, int kCount, bool kBlock>
__global__ void __launch_bounds__(kBlock ? 1024 : 256)
    whole_kernel(const T* x, const std::int32_t* targets, float* losses, const float* share, T* dx,
                 Rowset set) {
  const std::int64_t row = own_row<kBlock>();
  if (row >= set.rows) return;
  const std::int64_t target = targets[row];
  RowLoss result{kIgnoredRow, {0, 0}};
  float factor = 0;
  if (counts(row, target, set)) {
    result = row_loss<T, kCount, kBlock>(x + row * set.step, target, set);
    factor = isnan(result.loss) ? result.loss : *share;
  }
  if (lane_of_row<kBlock>() == 0) losses[row] = result.loss;
  store_gradient<T, kCount, kBlock>(x + row * set.step, dx + row * set.step, false, target, factor,
                                    result.normaliser, set);
}

/// As share_kernel, before there are losses.
__global__ void __launch_bounds__(1024)
    early_share_kernel(const std::int32_t* targets, const float* loss_scale, float* share, Rowset set) {
  int counted = 0;
  for (std::int64_t row = threadIdx.x; row < set.rows; row += blockDim.x)
    counted += counts(row, targets[row], set);
  store_share(counted, loss_scale, share);
}

template <class T>
class CrossEntropyKernel final : public CudaKernel {
 public:
  explicit CrossEntropyKernel(const Site& site)
      : CudaKernel(site, Dtype::f32), training_(site.request.training), samples_(site.input()[0]) {
    const Rows rows = rows_of(site.input());
    const auto& op = std::get<SoftmaxCrossEntropy>(site.request.node->spec);
    set_ = {.rows = rows.count,
            .classes = rows.width,
            .step = row_step(site.request.inputs[0]),
            .counted = rows.count,
            .ignored = op.ignore_index,
            .smoothing = op.label_smoothing};
  }

  [[nodiscard]] std::size_t saved_bytes() const override {
    return padded(sizeof(float)) + static_cast<std::size_t>(set_.rows) * sizeof(Normaliser);
  }

  [[nodiscard]] bool gradient_over_input(int input) const override { return input == 0; }

  void forward(const Pass& pass, Stream& stream) override {
    const Rowset set = counted(pass);
    const auto* targets = in<std::int32_t>(1);
    if (at_once(pass)) {
      early_share_kernel<<<1, 1024, 0, native(stream)>>>(targets, pass.loss_scale, saved<float>(), set);
      with_threads([&](auto lot, auto block, unsigned blocks, unsigned threads) {
        whole_kernel<T, decltype(lot)::value, decltype(block)::value><<<blocks, threads, 0, native(stream)>>>(
            in<T>(), targets, out<float>(), saved<float>(), in_gradient<T>(), set);
      });
    } else {
      with_threads([&](auto lot, auto block, unsigned blocks, unsigned threads) {
        forward_kernel<T, decltype(lot)::value, decltype(block)::value>
            <<<blocks, threads, 0, native(stream)>>>(in<T>(), targets, out<float>(), normalisers(), set);
      });
    }
    check_launch("softmax_cross_entropy");
  }

  void backward(const Pass& pass, Stream& stream) override {
    if (in_gradient<T>() == nullptr || at_once(pass)) return;
    auto* share = saved<float>();
    share_kernel<<<1, 1024, 0, native(stream)>>>(out<float>(), set_.rows, pass.loss_scale, share);
    with_threads([&](auto lot, auto block, unsigned blocks, unsigned threads) {
      backward_kernel<T, decltype(lot)::value, decltype(block)::value>
          <<<blocks, threads, 0, native(stream)>>>(in<T>(), in<std::int32_t>(1), out<float>(), normalisers(),
                                                   share, in_gradient<T>(), adds(), set_);
    });
    check_launch("softmax_cross_entropy backward");
  }

 private:
  /// Forward makes the gradient too: where it lies over the logits, for other memory may still be in use.
  [[nodiscard]] bool at_once(const Pass& pass) const {
    return pass.losses_only && training_ && in_gradient<T>() == in<T>();
  }
  [[nodiscard]] Rowset counted(const Pass& pass) const {
    Rowset set = set_;
    set.counted = (pass.rows < 0 ? samples_ : std::min(pass.rows, samples_)) * (set.rows / samples_);
    return set;
  }

  static constexpr std::int64_t kWide = 2048;  ///< classes from which a row gets a block

  [[nodiscard]] Normaliser* normalisers() const { return saved<Normaliser>(padded(sizeof(float))); }
  /// Calls run(elements of a lot, block or warp per row, blocks, threads).
  template <class Run>
  void with_threads(Run&& run) const {
    with_lots<T>(set_.step, true, [&](auto lot) {
      if (set_.classes >= kWide) {
        run(lot, std::true_type{}, static_cast<unsigned>(set_.rows), 1024U);
      } else {
        run(lot, std::false_type{}, static_cast<unsigned>((set_.rows + 7) / 8), 256U);
      }
    });
  }

  bool training_;
  std::int64_t samples_;
  Rowset set_{};
};

}  // namespace

std::unique_ptr<Kernel> make_softmax_cross_entropy(const Site& site) {
  return make_typed<CrossEntropyKernel>(site);
}

}  // namespace lockstep::models::cuda
