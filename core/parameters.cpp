#include "core/parameters.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/hash.h"
#include "core/round_up.h"

namespace lockstep {

namespace {

std::size_t canonical_count(const Slot& slot) { return static_cast<std::size_t>(slot.shape.count()); }

FlatSpan place_of(const Slot& slot, FlatSpan array) { return array.part(slot.offset, slot.stored_count); }

Error not_a_slot_array(const Slot& slot, FlatSpan array) {
  return {Fault::internal, "slot '" + slot.name + "' does not lie in an array of " +
                               std::to_string(array.count) + " " + std::string(name_of(array.dtype))};
}

/// Slot arrays are f32, bf16 or f16: all of them survive a trip through float.
void check_array(const Slot& slot, FlatSpan array) {
  const bool floats = array.dtype == Dtype::f32 || array.dtype == Dtype::bf16 || array.dtype == Dtype::f16;
  if (!floats || slot.offset + slot.stored_count > array.count) throw not_a_slot_array(slot, array);
}

template <class Half>
std::vector<float> read_half(FlatSpan place) {
  std::vector<Half> halves(static_cast<std::size_t>(place.count));
  copy_to_host(place, halves.data());
  std::vector<float> values(halves.size());
  std::transform(halves.begin(), halves.end(), values.begin(),
                 [](Half half) { return static_cast<float>(half); });
  return values;
}

template <class Half>
void write_half(std::span<const float> values, FlatSpan place) {
  std::vector<Half> halves(values.size());
  std::transform(values.begin(), values.end(), halves.begin(), [](float value) { return Half(value); });
  copy_from_host(halves.data(), place);
}

std::vector<float> read_floats(FlatSpan place) {
  if (place.dtype == Dtype::bf16) return read_half<Bf16>(place);
  if (place.dtype == Dtype::f16) return read_half<F16>(place);
  std::vector<float> values(static_cast<std::size_t>(place.count));
  copy_to_host(place, values.data());
  return values;
}

void write_floats(std::span<const float> values, FlatSpan place) {
  if (place.dtype == Dtype::bf16) return write_half<Bf16>(values, place);
  if (place.dtype == Dtype::f16) return write_half<F16>(values, place);
  copy_from_host(values.data(), place);
}

/// The slot and the array that hold `name`: a parameter, or else a state slot.
struct Found {
  const Slot* slot;
  FlatSpan array;
};
Found find_slot(const ParameterStore& store, std::string_view name) {
  if (const Slot* slot = store.layout().find(name)) return {slot, store.values()};
  if (const Slot* slot = store.state_layout().find(name)) return {slot, store.state()};
  throw Error(Fault::internal, "there is no slot '" + std::string(name) + "'");
}

/// The memory of the gradient array: the lent one, checked, or our own.
Memory gradient_array(const SlotLayout& layout, Device device, Memory lent, Dtype dtype) {
  const std::size_t bytes = static_cast<std::size_t>(layout.stored_count()) * size_of(dtype);
  if (lent.data() == nullptr) return allocate(device, bytes);
  if (lent.bytes() < bytes || lent.device() != device) {
    throw Error(Fault::internal, "the lent gradient memory has " + std::to_string(lent.bytes()) +
                                     " bytes on " + name_of(lent.device()) + ", but " +
                                     std::to_string(bytes) + " on " + name_of(device) + " are needed");
  }
  const std::vector<std::byte> zeros(bytes);
  copy_from_host(zeros.data(), lent.view(dtype, layout.stored_count()));
  return lent;
}

}  // namespace

SlotLayout::SlotLayout(std::vector<SlotSpec> specs) {
  slots_.reserve(specs.size());
  for (SlotSpec& spec : specs) {
    const std::int64_t stored = spec.storage ? spec.storage->stored_count() : spec.shape.count();
    slots_.push_back({.name = std::move(spec.name),
                      .shape = std::move(spec.shape),
                      .storage = std::move(spec.storage),
                      .decays = spec.decays,
                      .offset = stored_count_,
                      .stored_count = stored});
    stored_count_ += round_up(stored, kSlotAlignment);
  }
  canonical_order_.resize(slots_.size());
  std::iota(canonical_order_.begin(), canonical_order_.end(), 0);
  const auto name = [this](int index) -> const std::string& {
    return slots_[static_cast<std::size_t>(index)].name;
  };
  std::sort(canonical_order_.begin(), canonical_order_.end(),
            [&](int a, int b) { return name(a) < name(b); });
  const auto twice = std::adjacent_find(canonical_order_.begin(), canonical_order_.end(),
                                        [&](int a, int b) { return name(a) == name(b); });
  if (twice != canonical_order_.end())
    throw Error(Fault::internal, "two slots are named '" + name(*twice) + "'");
}

const Slot* SlotLayout::find(std::string_view name) const noexcept {
  const auto slot_at = [this](int index) -> const Slot& { return slots_[static_cast<std::size_t>(index)]; };
  const auto place =
      std::lower_bound(canonical_order_.begin(), canonical_order_.end(), name,
                       [&](int index, std::string_view wanted) { return slot_at(index).name < wanted; });
  if (place == canonical_order_.end() || slot_at(*place).name != name) return nullptr;
  return &slot_at(*place);
}

std::int64_t SlotLayout::canonical_count() const noexcept {
  std::int64_t count = 0;
  for (const Slot& slot : slots_) count += slot.shape.count();
  return count;
}

ParameterStore::ParameterStore(SlotLayout parameters, SlotLayout state, Device device, Memory gradient_memory,
                               Dtype gradient_dtype)
    : parameters_(std::move(parameters)),
      state_(std::move(state)),
      device_(device),
      values_(make_array(device, Dtype::f32, parameters_.stored_count())),
      gradient_memory_(gradient_array(parameters_, device, std::move(gradient_memory), gradient_dtype)),
      gradients_(gradient_memory_.view(gradient_dtype, parameters_.stored_count())),
      state_values_(make_array(device, Dtype::f32, state_.stored_count())) {}

void ParameterStore::move_gradients(Memory lent) {
  const Dtype dtype = gradients_.dtype;
  gradient_memory_ = gradient_array(parameters_, device_, std::move(lent), dtype);
  gradients_ = gradient_memory_.view(dtype, parameters_.stored_count());
}

std::vector<float> ParameterStore::read(std::string_view name) const {
  const auto [slot, array] = find_slot(*this, name);
  return read_slot(*slot, array);
}

void ParameterStore::write(std::string_view name, std::span<const float> canonical) {
  const auto [slot, array] = find_slot(*this, name);
  write_slot(*slot, array, canonical);
}

std::uint64_t ParameterStore::parameter_hash() const { return slot_hash(parameters_, values()); }

std::uint64_t ParameterStore::state_hash() const { return slot_hash(state_, state()); }

void ParameterStore::save(StateWriter& writer) const {
  StateWriter values_scope = writer.scope("values");
  save_slots(values_scope, parameters_, values());
  StateWriter state_scope = writer.scope("state");
  save_slots(state_scope, state_, state());
}

void ParameterStore::load(const StateReader& reader) {
  load_slots(reader.scope("values"), parameters_, values());
  load_slots(reader.scope("state"), state_, state());
}

std::vector<float> read_slot(const Slot& slot, FlatSpan array) {
  check_array(slot, array);
  std::vector<float> stored = read_floats(place_of(slot, array));
  if (slot.storage == nullptr) return stored;
  std::vector<float> canonical(canonical_count(slot));
  slot.storage->to_canonical(stored, canonical);
  return canonical;
}

void write_slot(const Slot& slot, FlatSpan array, std::span<const float> canonical) {
  check_array(slot, array);
  if (canonical.size() != canonical_count(slot)) {
    throw Error(Fault::checkpoint,
                "slot '" + slot.name + "' has shape " + slot.shape.text() + ", but " +
                    std::to_string(canonical.size()) + " numbers were given",
                "use weights made for the same model settings");
  }
  if (slot.storage == nullptr) return write_floats(canonical, place_of(slot, array));
  std::vector<float> stored(static_cast<std::size_t>(slot.stored_count));
  slot.storage->to_storage(canonical, stored);
  write_floats(stored, place_of(slot, array));
}

void save_slots(StateWriter& writer, const SlotLayout& layout, FlatSpan array) {
  for (const Slot& slot : layout.slots()) writer.floats(slot.name, slot.shape, read_slot(slot, array));
}

void load_slots(const StateReader& reader, const SlotLayout& layout, FlatSpan array) {
  for (const Slot& slot : layout.slots()) write_slot(slot, array, reader.floats(slot.name, slot.shape));
}

std::uint64_t slot_hash(const SlotLayout& layout, FlatSpan array) {
  std::uint64_t hash = 0;
  std::uint64_t first = 0;
  for (const int index : layout.canonical_order()) {
    const std::vector<float> values = read_slot(layout.slots()[static_cast<std::size_t>(index)], array);
    hash += hash_floats(values, first);
    first += values.size();
  }
  return hash;
}

}  // namespace lockstep
