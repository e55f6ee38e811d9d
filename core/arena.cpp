#include "core/arena.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "core/error.h"
#include "core/round_up.h"

namespace lockstep {

namespace {

struct Span {
  int first, last;
};
bool meet(Span one, Span other) noexcept { return one.first <= other.last && other.first <= one.last; }
/// The second use of a block; one that meets nothing when there is none.
Span later(const Lifetime& block) noexcept {
  return block.comes_back() ? Span{block.later_first, block.later_last} : Span{0, -1};
}

bool ordered(const Lifetime& block) {
  return block.first <= block.last && (!block.comes_back() || block.last < block.later_first);
}

/// Indices of the blocks that need bytes, largest first; equal sizes keep their order.
std::vector<std::size_t> by_size(std::span<const Lifetime> blocks) {
  std::vector<std::size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::erase_if(order, [&](std::size_t index) { return blocks[index].bytes == 0; });
  std::stable_sort(order.begin(), order.end(), [&](std::size_t one, std::size_t other) {
    return blocks[one].bytes > blocks[other].bytes;
  });
  return order;
}

}  // namespace

bool meet(const Lifetime& one, const Lifetime& other) noexcept {
  const Span first{one.first, one.last}, others_first{other.first, other.last};
  return meet(first, others_first) || meet(first, later(other)) || meet(later(one), others_first) ||
         meet(later(one), later(other));
}

ArenaPlan plan_arena(std::span<const Lifetime> blocks) {
  for (const Lifetime& block : blocks) {
    if (!ordered(block)) {
      throw Error(Fault::internal, "an arena block that lives from " + std::to_string(block.first) + " to " +
                                       std::to_string(block.last));
    }
  }
  ArenaPlan plan{std::vector<std::size_t>(blocks.size(), 0), 0};
  std::vector<std::size_t> placed;  // in order of offset
  for (const std::size_t index : by_size(blocks)) {
    const std::size_t bytes = round_up(blocks[index].bytes, kArenaAlignment);
    std::size_t offset = 0;  // lowest so far that no placed block alive at the same time touches
    for (const std::size_t other : placed) {
      if (!meet(blocks[index], blocks[other])) continue;
      if (offset + bytes <= plan.offsets[other]) break;
      offset = std::max(offset, plan.offsets[other] + round_up(blocks[other].bytes, kArenaAlignment));
    }
    plan.offsets[index] = offset;
    plan.bytes = std::max(plan.bytes, offset + bytes);
    const auto place =
        std::upper_bound(placed.begin(), placed.end(), offset,
                         [&](std::size_t value, std::size_t other) { return value < plan.offsets[other]; });
    placed.insert(place, index);
  }
  return plan;
}

}  // namespace lockstep
