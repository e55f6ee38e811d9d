// Times the algorithms that cuBLASLt suggests for a product, on operands of its own.
#include <algorithm>
#include <limits>

#include "core/cuda/owned.h"
#include "core/error.h"
#include "core/memory.h"
#include "models/ops/cuda/product_plan.h"
#include "models/ops/cuda/rowwise.h"
#include "models/ops/cuda/stopwatch.h"

namespace lockstep::models::cuda {
namespace {

constexpr int kWarmUps = 1, kRepetitions = 3;

/// Operands with noise in them: a GPU that multiplies zeros draws less power and runs faster.
class MadeUp {
 public:
  MadeUp(const ProductSpec& s, Device device, cudaStream_t stream)
      : a_(room(stored(s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k, s.row_a, s.batch, s.step_a),
                s.input, device, stream)),
        b_(room(stored(s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n, s.row_b, s.batch, s.step_b),
                s.input, device, stream)),
        c_(room(stored(s.m, s.n, s.row_c, s.batch, s.step_c), s.output, device, stream)),
        beside_(s.tail == Tail::none || s.tail == Tail::relu
                    ? Memory()
                    : room(stored(s.m, s.n, s.row_c, 1, 0), s.output, device, stream)),
        bias_(room(s.n, s.output, device, stream)),
        workspace_(allocate(device, kProductWorkspace)) {}

  [[nodiscard]] Product::Operands operands() const {
    return {.a = a_.data(), .b = b_.data(), .c = c_.data(), .bias = bias_.data(), .beside = beside_.data()};
  }
  [[nodiscard]] void* workspace() const { return workspace_.data(); }

 private:
  static std::int64_t stored(std::int64_t rows, std::int64_t columns, std::int64_t row_step,
                             std::int64_t batch, std::int64_t batch_step) {
    return rows * (row_step > 0 ? row_step : columns) + (batch - 1) * batch_step;
  }
  static Memory room(std::int64_t count, Dtype dtype, Device device, cudaStream_t stream) {
    Memory memory = allocate(device, static_cast<std::size_t>(count) * size_of(dtype));
    fill_noise(memory.data(), dtype, count, device, stream);
    return memory;
  }
  Memory a_, b_, c_, beside_, bias_, workspace_;
};

}  // namespace

cublasLtMatmulAlgo_t fastest(const Product::Plan& plan, const std::vector<cublasLtMatmulAlgo_t>& candidates) {
  const lockstep::cuda::OwnStream stream(plan.policy.device);
  std::unique_ptr<MadeUp> made_up;
  try {
    made_up = std::make_unique<MadeUp>(plan.spec, plan.policy.device, stream.get());
  } catch (const Error&) {
    return candidates.front();
  }
  const auto run = [&](const cublasLtMatmulAlgo_t& candidate, int times) {
    for (int i = 0; i < times; ++i)
      plan.run(made_up->operands(), candidate, made_up->workspace(), stream.get());
  };
  double best = std::numeric_limits<double>::infinity();
  cublasLtMatmulAlgo_t choice = candidates.front();
  for (const auto& candidate : candidates) {
    try {
      run(candidate, kWarmUps);
      Stopwatch watch(stream.get());
      run(candidate, kRepetitions);
      const double seconds = watch.stop_s();
      if (seconds >= best) continue;
      best = seconds;
      choice = candidate;
    } catch (const Error&) {
      continue;  // suggested, but refused when run
    }
  }
  return choice;
}

}  // namespace lockstep::models::cuda
