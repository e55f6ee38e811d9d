// Batch norm, optionally with a residual added and a ReLU after it (Ioffe & Szegedy 2015), in two passes over
// the rows each way. Moments are taken about the first row in f32 by thread and combined in f64, so a large
// mean costs no precision. Synchronised: each rank's sums go through the sum hook between the passes, first
// for the mean, then for squares about the common mean.
#include <algorithm>
#include <cmath>
#include <variant>

#include "models/ops/cuda/batch_norm_loops.cuh"
#include "models/ops/cuda/gradient.cuh"
#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// Per channel, kept from forward to backward; `exchanged` are two arrays that cross the sum hook.
struct Saved {
  float *mean, *inverse, *exchanged;
  int channels;
};

/// Where the batch statistics go.
struct Statistics {
  float *mean, *variance;
  bool add;
  float epsilon;
  double total;  ///< rows that share the statistics

  /// From the common mean and the sum of squares about it.
  __device__ void write(const Saved& saved, int c, double common, double squares) const {
    const auto unbiased = static_cast<float>(squares / fmax(total - 1, 1.0));
    saved.mean[c] = static_cast<float>(common);
    saved.inverse[c] = static_cast<float>(1.0 / sqrt(squares / total + static_cast<double>(epsilon)));
    mean[c] = static_cast<float>(common) + (add ? mean[c] : 0.0F);
    variance[c] = unbiased + (add ? variance[c] : 0.0F);
  }
};

/// Ends the moments of a lone rank.
template <class T>
struct FinishMoments {
  const T* x;
  Saved saved;
  Statistics statistics;
  __device__ void operator()(int c, double sum, double squares) const {
    const double n = statistics.total, about = sum / n;
    statistics.write(saved, c, static_cast<double>(to_float(x[c])) + about,
                     fmax(squares - n * about * about, 0.0));
  }
};

/// Ends this rank's moments: rows times mean, and squares about the own mean.
template <class T>
struct FinishOwnMoments {
  const T* x;
  Saved saved;
  double rows;
  __device__ void operator()(int c, double sum, double squares) const {
    const double about = sum / rows;
    saved.mean[c] = static_cast<float>(static_cast<double>(to_float(x[c])) + about);
    saved.exchanged[c] = static_cast<float>(static_cast<double>(saved.mean[c]) * rows);
    saved.exchanged[saved.channels + c] = static_cast<float>(fmax(squares - rows * about * about, 0.0));
  }
};

struct FinishGradients {
  Saved saved;
  GradientSlot gamma, beta;
  __device__ void operator()(int c, double gradients, double products) const {
    saved.exchanged[c] = static_cast<float>(gradients);
    saved.exchanged[saved.channels + c] = static_cast<float>(products);
    put(beta, c, static_cast<float>(gradients));
    put(gamma, c, static_cast<float>(products * static_cast<double>(saved.inverse[c])));
  }
};

/// exchanged[0]: rows times mean, summed over ranks, becomes this rank's squares about the common mean.
__global__ void about_common_mean_kernel(Saved saved, double rows, double total) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= saved.channels) return;
  const double common = static_cast<double>(saved.exchanged[c]) / total;
  const double away = static_cast<double>(saved.mean[c]) - common;
  saved.mean[c] = static_cast<float>(common);
  saved.exchanged[c] =
      static_cast<float>(static_cast<double>(saved.exchanged[saved.channels + c]) + rows * away * away);
}
__global__ void common_statistics_kernel(Saved saved, Statistics statistics) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= saved.channels) return;
  statistics.write(saved, c, static_cast<double>(saved.mean[c]), static_cast<double>(saved.exchanged[c]));
}
__global__ void running_statistics_kernel(Saved saved, const float* mean, const float* variance,
                                          float epsilon) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= saved.channels) return;
  saved.mean[c] = mean[c];
  saved.inverse[c] =
      static_cast<float>(1.0 / sqrt(static_cast<double>(variance[c]) + static_cast<double>(epsilon)));
}

// Blocks that share a multiprocessor, and rows that a thread has in flight: enough bytes to cover the
// memory's latency, within 64 registers.
constexpr int kResident = 4, kMomentsUnroll = 8, kUnroll = 4;

template <class T>
class BatchNormKernel final : public CudaKernel {
 public:
  explicit BatchNormKernel(const Site& site)
      : CudaKernel(site),
        spec_(std::get<BatchNorm>(site.request.node->spec)),
        sum_(spec_.synchronised ? site.options.sum : SumHook{}),
        rows_(rows_of(site.input())),
        total_(static_cast<double>(rows_.count) * (sum_ ? site.options.ranks : 1)),
        relu_(std::holds_alternative<Relu>(site.last().spec)),
        residual_(site.request.inputs.size() > 1),
        quads_(rows_.width % kQuad == 0) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override { return {nullptr, nullptr}; }
  [[nodiscard]] std::size_t saved_bytes() const override {
    const std::int64_t words = keeps_bits() ? rows_.count * rows_.width / kBitChannels : 0;
    return bits_offset() + static_cast<std::size_t>(words) * sizeof(uint2);
  }
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return channel_partials(grid()) * sizeof(float);
  }
  [[nodiscard]] bool backward_needs_input(int input) const override { return input == 0; }
  [[nodiscard]] bool backward_needs_output() const override { return relu_ && residual_ && !keeps_bits(); }
  /// The residual's gradient is the masked gradient of the output; without one each element's is its own.
  [[nodiscard]] bool gradient_in_place(int input) const override { return input == (residual_ ? 1 : 0); }

  void forward(const Pass& pass, Stream& stream) override {
    if (pass.mode == Mode::evaluate)
      running_statistics_kernel<<<small_grid(), kBlockThreads, 0, native(stream)>>>(
          kept(), state(pass.state, 0), state(pass.state, 1), spec_.epsilon);
    else if (sum_)
      common_moments(pass, stream);
    else
      moments(FinishMoments<T>{in<T>(), kept(), statistics(pass)}, stream);
    with_lots([&]<int kLot>() { normalise<kLot>(pass, native(stream)); });
    check_launch("batch norm");
  }

  void backward(const Pass& pass, Stream& stream) override {
    with_lots([&]<int kLot>() { gradient_sums<kLot>(pass, stream); });
    const bool together = sum_ && pass.mode == Mode::train;
    if (together) sum_({kept().exchanged, 2 * rows_.width, Dtype::f32, device()}, stream);
    if (in_gradient<T>() != nullptr)
      with_lots([&]<int kLot>() { input_gradient<kLot>(pass, native(stream)); });
    check_launch("batch norm backward");
    if (residual_ && in_gradient<T>(1) != nullptr)
      pass_on(out_gradient<T>(), in_gradient<T>(1), rows_.count * rows_.width, compute(), adds(1),
              {device(), native(stream)});
  }

 private:
  /// Bits instead of the whole output tell backward where the ReLU passed.
  [[nodiscard]] bool keeps_bits() const { return relu_ && residual_ && rows_.width % kBitChannels == 0; }
  [[nodiscard]] std::size_t bits_offset() const {
    return padded(static_cast<std::size_t>(4 * rows_.width) * sizeof(float));
  }
  [[nodiscard]] uint2* bits() const { return saved<uint2>(bits_offset()); }
  [[nodiscard]] Saved kept() const {
    auto* mean = saved<float>();
    return {mean, mean + rows_.width, mean + 2 * rows_.width, static_cast<int>(rows_.width)};
  }
  [[nodiscard]] Statistics statistics(const Pass& pass) const {
    return {state(pass.statistics, 0), state(pass.statistics, 1), pass.accumulate, spec_.epsilon, total_};
  }
  [[nodiscard]] unsigned small_grid() const {
    return static_cast<unsigned>((rows_.width + kBlockThreads - 1) / kBlockThreads);
  }
  [[nodiscard]] ChannelGrid grid() const {
    return channel_grid(rows_.count, rows_.width, quads_ ? kQuad : 1, kResident, device());
  }
  /// Calls run<channels of a thread>().
  template <class Run>
  void with_lots(const Run& run) const {
    if (quads_)
      run.template operator()<kQuad>();
    else
      run.template operator()<1>();
  }
  template <int kLot>
  [[nodiscard]] Affine<kLot> affine(const Pass& pass) const {
    return {kept().mean, kept().inverse, slot<float>(pass.values, 0), slot<float>(pass.values, 1), {}, {}};
  }
  template <int kLot, int kUnroll, class Body, class Finish>
  void sums(const Body& body, const Finish& finish, Stream& stream) const {
    const ChannelGrid g = grid();
    channel_sums_kernel<kLot, kUnroll, kResident><<<g.blocks(), kChannelThreads, 0, native(stream)>>>(
        g, body, finish, workspace<float>(), static_cast<unsigned*>(scratch(stream)));
  }

  template <class Finish>
  void moments(const Finish& finish, Stream& stream) const {
    with_lots([&]<int kLot>() { sums<kLot, kMomentsUnroll>(Moments<T, kLot>{in<T>()}, finish, stream); });
  }
  void common_moments(const Pass& pass, Stream& stream) {
    const double rows = static_cast<double>(rows_.count);
    const FlatSpan hooked{kept().exchanged, rows_.width, Dtype::f32, device()};
    moments(FinishOwnMoments<T>{in<T>(), kept(), rows}, stream);
    sum_(hooked, stream);
    about_common_mean_kernel<<<small_grid(), kBlockThreads, 0, native(stream)>>>(kept(), rows, total_);
    sum_(hooked, stream);
    common_statistics_kernel<<<small_grid(), kBlockThreads, 0, native(stream)>>>(kept(), statistics(pass));
  }

  template <int kLot>
  void normalise(const Pass& pass, cudaStream_t on) const {
    const auto launch = [&]<bool kResidual, bool kRelu, bool kBits = false>() {
      const ChannelGrid g = grid();
      channel_map_kernel<kLot, kResidual ? kUnroll : 2 * kUnroll, kResident>
          <<<g.blocks(), kChannelThreads, 0, on>>>(
              g, Normalise<T, kLot, kResidual, kRelu, kBits>{in<T>(), residual_ ? in<T>(1) : nullptr,
                                                             out<T>(), bits(), affine<kLot>(pass)});
    };
    if (keeps_bits())
      launch.template operator()<true, true, true>();
    else if (residual_)
      relu_ ? launch.template operator()<true, true>() : launch.template operator()<true, false>();
    else
      relu_ ? launch.template operator()<false, true>() : launch.template operator()<false, false>();
  }

  template <int kLot>
  void gradient_sums(const Pass& pass, Stream& stream) const {
    const FinishGradients finish{kept(), gradient_slot(pass, 0), gradient_slot(pass, 1)};
    const auto launch = [&]<Mask kMask>() {
      const GradientSums<T, kLot, kMask> body{in<T>(), out<T>(), out_gradient<T>(), bits(),
                                              affine<kLot>(pass)};
      sums<kLot, kUnroll>(body, finish, stream);
    };
    if (!relu_)
      launch.template operator()<Mask::none>();
    else if (keeps_bits())
      launch.template operator()<Mask::bits>();
    else
      residual_ ? launch.template operator()<Mask::output>() : launch.template operator()<Mask::input>();
  }

  /// In evaluation the statistics are constants, and their share of the gradient vanishes.
  template <int kLot>
  void input_gradient(const Pass& pass, cudaStream_t on) const {
    const auto share = static_cast<float>(pass.mode == Mode::evaluate ? 0 : 1 / total_);
    const auto launch = [&]<bool kMasks, bool kAdd>() {
      const ChannelGrid g = grid();
      channel_map_kernel<kLot, kUnroll, kResident><<<g.blocks(), kChannelThreads, 0, on>>>(
          g, InputGradient<T, kLot, kMasks, kAdd>{in<T>(), out_gradient<T>(), in_gradient<T>(),
                                                  affine<kLot>(pass), kept().exchanged,
                                                  static_cast<int>(rows_.width), share});
    };
    if (relu_ && !residual_)
      adds() ? launch.template operator()<true, true>() : launch.template operator()<true, false>();
    else
      adds() ? launch.template operator()<false, true>() : launch.template operator()<false, false>();
  }

  BatchNorm spec_;
  SumHook sum_;
  Rows rows_;
  double total_;
  bool relu_, residual_, quads_;
};

}  // namespace

std::unique_ptr<Kernel> make_batch_norm(const Site& site) { return make_typed<BatchNormKernel>(site); }

}  // namespace lockstep::models::cuda
