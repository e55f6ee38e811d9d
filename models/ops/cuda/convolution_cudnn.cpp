// Convolutions through cuDNN's graph API: an operation graph of one node, engines from its heuristics (mode
// A, then its fallbacks), filtered by what they do to the numbers, and either the first that builds or the
// fastest of the first few.
#include <cudnn.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/cuda/cuda.h"
#include "core/error.h"
#include "core/memory.h"
#include "models/ops/cuda/convolution_graph.h"
#include "models/ops/cuda/convolution_plan.h"
#include "models/ops/cuda/cudnn_handle.h"
#include "models/ops/cuda/stopwatch.h"

namespace lockstep::models::cuda {
namespace {

constexpr std::size_t kTimed = 8;                             // candidates worth a measurement
constexpr std::size_t kMostWorkspace = std::size_t{1} << 30;  // bytes; what a faster engine may cost

/// Whether an engine's way with numbers is allowed.
bool acceptable(const Descriptor& config, const ConvolutionRequest& r) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t raw = engine.raw();
  config.get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw);
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes{};
  const std::int64_t count = engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                        CUDNN_NUMERICAL_NOTE_TYPE_COUNT, notes.data());
  return std::none_of(notes.begin(), notes.begin() + count, [&](auto note) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
        return true;
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
        return r.repeatable || !r.tune;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
      case CUDNN_NUMERICAL_NOTE_FFT:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD:
        return r.dtype == Dtype::f32 && !r.tf32;
      default:
        return false;
    }
  });
}

std::vector<Descriptor> configs_of(const Descriptor& graph, cudnnBackendHeurMode_t mode,
                                   const ConvolutionRequest& r) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode)
      .finalise();
  const std::int64_t most =
      heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr);
  std::vector<Descriptor> configs;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < most; ++i)
    raw.push_back(configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).raw());
  const std::int64_t found =
      heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, raw.data());
  configs.erase(configs.begin() + found, configs.end());
  std::erase_if(configs, [&](const Descriptor& config) { return !acceptable(config, r); });
  return configs;
}

class CudnnPlan final : public ConvolutionPlan {
 public:
  CudnnPlan(const Descriptor& config, HandlePtr handle)
      : handle_(std::move(handle)), plan_(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
    plan_.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle_->get())
        .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config)
        .finalise();
    plan_.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &workspace_);
  }

  [[nodiscard]] std::size_t workspace_bytes() const override { return static_cast<std::size_t>(workspace_); }
  [[nodiscard]] double measured_ms() const override { return measured_ms_; }
  void measured(double ms) { measured_ms_ = ms; }
  [[nodiscard]] Handle& handle() const { return *handle_; }

  void run(const ConvolutionArrays& arrays, void* workspace, cudaStream_t stream) const override {
    try {
      execute(arrays, workspace, stream);
    } catch (const Refused& refused) {
      throw Error(Fault::device, fmt::format("a convolution failed: {}: {}", refused.what,
                                             cudnnGetErrorString(refused.status)));
    }
  }
  /// As run(), throwing Refused.
  void execute(const ConvolutionArrays& arrays, void* workspace, cudaStream_t stream) const {
    const std::array<void*, 3> data{arrays.image, arrays.weight, arrays.result};
    Descriptor variant(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    variant.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, data.data())
        .set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, {kImage, kWeight, kResult})
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace)
        .finalise();
    expect(cudnnBackendExecute(handle_->on(stream), plan_.raw(), variant.raw()), "cudnnBackendExecute");
  }

 private:
  HandlePtr handle_;
  Descriptor plan_;
  std::int64_t workspace_ = 0;
  double measured_ms_ = 0;
};
using CudnnPlanPtr = std::shared_ptr<CudnnPlan>;

/// Null when the engine refuses after all or wants too much memory.
CudnnPlanPtr built(const Descriptor& config, const HandlePtr& handle) {
  try {
    auto plan = std::make_shared<CudnnPlan>(config, handle);
    return plan->workspace_bytes() <= kMostWorkspace ? plan : nullptr;
  } catch (const Refused&) {
    return nullptr;
  }
}

std::size_t bytes_of(const Shape& shape) { return static_cast<std::size_t>(shape.count()) * sizeof(float); }

/// Measures plans on zeroes.
class Trial {
 public:
  Trial(const ConvolutionRequest& r, std::size_t workspace)
      : image_(allocate(r.device, bytes_of(r.geometry.image))),
        weight_(allocate(r.device, bytes_of(r.geometry.weight()))),
        result_(allocate(r.device, bytes_of(r.geometry.result))),
        workspace_(allocate(r.device, workspace)),
        stream_(make_stream(r.device, {})) {}

  /// Milliseconds of one run; nothing when it fails.
  [[nodiscard]] std::optional<double> measure(const CudnnPlan& plan) {
    constexpr int kRuns = 5;
    try {
      const cudaStream_t on = lockstep::cuda::native(*stream_);
      const ConvolutionArrays arrays{image_.data(), weight_.data(), result_.data()};
      plan.execute(arrays, workspace_.data(), on);
      Stopwatch watch(on);
      for (int i = 0; i < kRuns; ++i) plan.execute(arrays, workspace_.data(), on);
      return watch.stop_s() * 1e3 / kRuns;
    } catch (const Refused&) {
      return std::nullopt;
    }
  }

 private:
  Memory image_, weight_, result_, workspace_;
  std::unique_ptr<Stream> stream_;
};

ConvolutionPlanPtr fastest(const std::vector<CudnnPlanPtr>& plans, const ConvolutionRequest& r) {
  std::size_t workspace = 0;
  for (const CudnnPlanPtr& plan : plans) workspace = std::max(workspace, plan->workspace_bytes());
  Trial trial(r, workspace);
  CudnnPlanPtr best;
  for (const CudnnPlanPtr& plan : plans) {
    const auto ms = trial.measure(*plan);
    if (!ms) continue;
    plan->measured(*ms);
    if (best == nullptr || *ms < best->measured_ms()) best = plan;
  }
  static_cast<void>(plans.front()->handle().on(nullptr));  // the watch's stream ends here
  return best;
}

ConvolutionPlanPtr make_plan(const ConvolutionRequest& r) {
  const HandlePtr handle = handle_of(r.device);
  std::vector<CudnnPlanPtr> plans;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    try {
      const Descriptor graph = graph_of(r, handle->get());
      for (const Descriptor& config : configs_of(graph, mode, r)) {
        if (auto plan = built(config, handle)) plans.push_back(std::move(plan));
        if (plans.size() == (r.tune ? kTimed : 1)) break;
      }
    } catch (const Refused&) {
      continue;  // no heuristics for this graph
    }
    if (!plans.empty()) break;
  }
  if (plans.empty()) return nullptr;
  return r.tune ? fastest(plans, r) : plans.front();
}

std::string key_of(const ConvolutionRequest& r) {
  const ConvolutionGeometry& g = r.geometry;
  return fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", static_cast<int>(r.direction),
                     g.image.text(), g.result.text(), g.kernel, g.stride, g.padding, g.dilation, g.groups,
                     name_of(r.dtype), name_of(r.written), r.add, r.tf32, r.tune, r.repeatable,
                     r.device.index);
}

}  // namespace

ConvolutionPlanPtr cudnn_convolution(const ConvolutionRequest& request) {
  // Per thread, as the handles are: ranks as threads each make their own.
  thread_local std::map<std::string, std::weak_ptr<const ConvolutionPlan>> known;
  auto& place = known[key_of(request)];
  ConvolutionPlanPtr plan = place.lock();
  if (plan == nullptr) place = plan = make_plan(request);
  return plan;
}

std::string cudnn_version() {
  const std::size_t version = cudnnGetVersion();  // 91900: 9.19.0
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace lockstep::models::cuda
