// The table of backends, and what backends share.
#include <spdlog/fmt/fmt.h>

#include <array>
#include <cassert>
#include <chrono>

#include "core/error.h"
#include "models/ops/cpu/backend.h"
#ifdef LOCKSTEP_WITH_CUDA
#include "models/ops/cuda/backend.h"
#include "models/ops/cuda/versions.h"
#endif
#include "models/ops/kernel.h"
#include "models/ops/reference/backend.h"
#include "models/versions.h"

namespace lockstep::models {
namespace {

struct Row {
  std::string_view name;
  std::unique_ptr<Backend> (*make)(const BackendOptions&);
};

constexpr std::array kBackends{
    Row{"cpu", make_cpu_backend},
#ifdef LOCKSTEP_WITH_CUDA
    Row{"cuda", make_cuda_backend},
#endif
    Row{"reference", make_reference_backend<float>},
};

/// The mean in double, so that it does not depend on how rows are grouped.
template <class T>
double mean_of_counted(const T* losses, std::int64_t count) {
  double sum = 0;
  std::int64_t counted = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (losses[i] == static_cast<T>(kIgnoredRow)) continue;
    sum += static_cast<double>(losses[i]);
    ++counted;
  }
  return counted == 0 ? 0 : sum / static_cast<double>(counted);
}

}  // namespace

void Backend::add_mean_loss(const void* losses, const TensorLayout& layout, float* sum, Stream& stream) {
  assert(!layout.storage && (layout.dtype == Dtype::f32 || layout.dtype == Dtype::f64));
  stream.host([=, count = layout.shape.count(), wide = layout.dtype == Dtype::f64] {
    const double mean = wide ? mean_of_counted(static_cast<const double*>(losses), count)
                             : mean_of_counted(static_cast<const float*>(losses), count);
    *sum += static_cast<float>(mean);
  });
}

double Backend::seconds_of(const std::function<void()>& enqueue, Stream& stream) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin, end;
  stream.host([&] { begin = Clock::now(); });
  enqueue();
  stream.host([&] { end = Clock::now(); });
  stream.synchronize();
  return std::chrono::duration<double>(end - begin).count();
}

std::unique_ptr<Backend> make_backend(std::string_view name, const BackendOptions& options) {
  std::vector<std::string> names;
  for (const Row& row : kBackends) {
    if (row.name == name) return row.make(options);
    names.emplace_back(row.name);
  }
  throw Error(Fault::config, fmt::format("no backend is called '{}'", name),
              fmt::format("backends: {}", fmt::join(names, ", ")));
}

std::vector<std::pair<std::string, std::string>> cuda_libraries() {
#ifdef LOCKSTEP_WITH_CUDA
  return cuda_backend_libraries();
#else
  return {};
#endif
}

std::vector<std::string_view> backend_names() {
  std::vector<std::string_view> names;
  for (const Row& row : kBackends) names.push_back(row.name);
  return names;
}

}  // namespace lockstep::models
