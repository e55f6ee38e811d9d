// Recording of CUDA streams.
#pragma once

#include <functional>
#include <memory>

#include "core/recording.h"

namespace lockstep::cuda {

/// As record_work().
[[nodiscard]] std::unique_ptr<Recording> record(Stream& stream, const std::function<void()>& enqueue);

}  // namespace lockstep::cuda
