#include "models/ops/cpu/weight_order.h"

#include <spdlog/fmt/fmt.h>

#include <numeric>

#include "core/error.h"
#include "models/ops/cpu/storage.h"

namespace lockstep::models::cpu {
namespace {

/// Place of one element: inner blocks take the low part of each index, strides the rest.
std::int64_t place(const onednn::Blocking& b, std::vector<std::int64_t> index) {
  std::int64_t at = 0;
  std::int64_t step = 1;
  for (auto block = b.inner.rbegin(); block != b.inner.rend(); ++block) {
    auto& i = index[static_cast<std::size_t>(block->second)];
    at += i % block->first * step;
    i /= block->first;
    step *= block->first;
  }
  for (std::size_t axis = 0; axis < index.size(); ++axis) at += index[axis] * b.strides[axis];
  return at;
}

std::int64_t stored_count(const onednn::Blocking& b) {
  return std::accumulate(b.padded.begin(), b.padded.end(), std::int64_t{1}, std::multiplies<>());
}

std::string name_of(const onednn::Blocking& b) {
  std::vector<std::string> blocks;
  for (const auto& [size, axis] : b.inner) blocks.push_back(fmt::format("{}{}", size, char('a' + axis)));
  return fmt::format("onednn:{}:{}", fmt::join(b.strides, ","), fmt::join(blocks, ""));
}

}  // namespace

std::vector<std::int32_t> places_of(const onednn::Layout& layout) {
  if (!onednn::is_blocked(layout))
    throw Error(Fault::internal, "oneDNN chose a weight layout that is not plain blocks");
  const onednn::Blocking b = onednn::blocking_of(layout);
  const auto count = std::accumulate(b.dims.begin(), b.dims.end(), std::int64_t{1}, std::multiplies<>());
  std::vector<std::int32_t> places(static_cast<std::size_t>(count));
  std::vector<std::int64_t> index(b.dims.size(), 0);
  for (auto& each : places) {
    each = static_cast<std::int32_t>(place(b, index));
    for (std::size_t axis = index.size(); axis-- > 0;) {
      if (++index[axis] < b.dims[axis]) break;
      index[axis] = 0;
    }
  }
  return places;
}

StorageOrderPtr order_of(const onednn::Layout& layout) {
  auto places = places_of(layout);
  const onednn::Blocking b = onednn::blocking_of(layout);
  bool dense = stored_count(b) == static_cast<std::int64_t>(places.size());
  for (std::size_t i = 0; dense && i < places.size(); ++i) dense = places[i] == static_cast<std::int32_t>(i);
  if (dense) return nullptr;
  return placed_order(std::move(places), stored_count(b), name_of(b));
}

}  // namespace lockstep::models::cpu
