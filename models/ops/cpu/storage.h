// Orders in which this backend stores tensors: images with channels innermost (models/ops/image_order.h; on
// AVX2 as fast as oneDNN's blocked layouts), convolution weights as oneDNN likes them, everything else dense.
#pragma once

#include <cstdint>
#include <vector>

#include "core/storage.h"
#include "models/ops/image_order.h"
#include "models/ops/kernel.h"

namespace lockstep::models::cpu {

/// An order given by the place of every canonical element.
[[nodiscard]] StorageOrderPtr placed_order(std::vector<std::int32_t> places, std::int64_t stored_count,
                                           std::string name);

}  // namespace lockstep::models::cpu
