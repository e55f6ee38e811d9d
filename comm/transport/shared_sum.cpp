#include "comm/transport/shared_sum.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/vector/cpu/cpu_kernels.h"

namespace lockstep::comm {

namespace {

/// Bytes of a block: an operand pair and the results of some ranks fit the 32-48 KiB of a first-level cache.
constexpr std::int64_t kBlockBytes = 8192;

}  // namespace

void BalancedSum::run(std::span<const FlatSpan> operands, std::span<const FlatSpan> results) {
  const FlatSpan& first = results.front();
  const std::int64_t length = kBlockBytes / static_cast<std::int64_t>(size_of(first.dtype));
  partial_.resize(operands.size() / 2 * kBlockBytes);
  parts_.resize(operands.size());
  for (std::int64_t at = 0; at < first.count; at += length) {
    const std::int64_t count = std::min(length, first.count - at);
    for (std::size_t i = 0; i < operands.size(); ++i) parts_[i] = operands[i].part(at, count);
    const FlatSpan out = first.part(at, count);
    block(parts_, out);
    for (const FlatSpan& result : results.subspan(1)) {
      std::memcpy(result.at(at), out.data, out.bytes());
    }
  }
}

/// The tree of fold.h: with e operands more than a power of two, the first 2e are added in pairs; then pairs
/// of neighbours, level by level. The last addition writes `out`, so that an operand there is read before.
void BalancedSum::block(std::span<const FlatSpan> operands, FlatSpan out) {
  if (operands.size() == 1) {
    if (out.data != operands[0].data) std::memcpy(out.data, operands[0].data, out.bytes());
    return;
  }
  const auto slot = [&](std::size_t index) {
    return FlatSpan{partial_.data() + index * kBlockBytes, out.count, out.dtype, out.device};
  };
  const std::size_t extra = operands.size() - std::bit_floor(operands.size());
  sums_.clear();
  for (std::size_t i = 0; i < extra; ++i) {
    sums_.push_back(slot(i));
    vector::sum_now(operands[2 * i], operands[2 * i + 1], sums_.back());
  }
  sums_.insert(sums_.end(), operands.begin() + static_cast<std::ptrdiff_t>(2 * extra), operands.end());
  for (; sums_.size() > 2; sums_.resize(sums_.size() / 2)) {
    for (std::size_t i = 0; i < sums_.size() / 2; ++i) {
      const FlatSpan left = sums_[2 * i];
      sums_[i] = slot(i);  // at most the left operand itself: slots before it are done with
      vector::sum_now(left, sums_[2 * i + 1], sums_[i]);
    }
  }
  vector::sum_now(sums_[0], sums_[1], out);
}

}  // namespace lockstep::comm
