// The storage order of a weight that oneDNN keeps in a blocked layout. Include it in .cpp files only.
#pragma once

#include <vector>

#include "core/storage.h"
#include "models/ops/cpu/dnnl_compat.h"

namespace lockstep::models::cpu {

/// The place of every canonical (row-major) element. Throws Fault::internal for layouts that are not blocked.
[[nodiscard]] std::vector<std::int32_t> places_of(const onednn::Layout& layout);

/// As a storage order of f32 masters, whatever the layout's dtype; null when the layout is dense.
[[nodiscard]] StorageOrderPtr order_of(const onednn::Layout& layout);

}  // namespace lockstep::models::cpu
