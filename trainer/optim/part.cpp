#include "trainer/optim/part.h"

#include <algorithm>
#include <cstdlib>

namespace lockstep::trainer {

namespace {

/// Where slot `index` begins; the end of the array behind the last one.
std::int64_t start_of(const SlotLayout& layout, std::size_t index) {
  return index < layout.slots().size() ? layout.slots()[index].offset : layout.stored_count();
}

}  // namespace

std::vector<Part> cut_parts(const SlotLayout& layout, int ranks) {
  std::vector<Part> parts;
  std::size_t slot = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    Part part{.first_slot = slot, .last_slot = slot, .first = start_of(layout, slot)};
    const std::int64_t share = layout.stored_count() * (rank + 1) / ranks;
    while (slot < layout.slots().size() &&
           std::abs(start_of(layout, slot + 1) - share) <= std::abs(start_of(layout, slot) - share))
      ++slot;
    part.last_slot = slot;
    part.count = start_of(layout, slot) - part.first;
    parts.push_back(part);
  }
  return parts;
}

Part whole_of(const SlotLayout& layout) { return cut_parts(layout, 1).front(); }

std::int64_t largest_part(const SlotLayout& layout, int ranks) {
  std::int64_t largest = 0;
  for (const Part& part : cut_parts(layout, ranks)) largest = std::max(largest, part.count);
  return largest;
}

SlotLayout layout_of(const Part& part, const SlotLayout& layout) {
  std::vector<SlotSpec> specs;
  for (std::size_t i = part.first_slot; i < part.last_slot; ++i) {
    const Slot& slot = layout.slots()[i];
    specs.push_back({slot.name, slot.shape, slot.storage, slot.decays});
  }
  return SlotLayout(std::move(specs));
}

}  // namespace lockstep::trainer
