// The one save/load interface for whatever a part must remember: named tensors and numbers under nested
// scopes. A part writes through a StateWriter and reads back through a StateReader; files are somebody else's
// business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"

namespace lockstep {

/// One saved tensor.
struct StateEntry {
  Dtype dtype = Dtype::u8;
  Shape shape;
  std::vector<std::byte> bytes;
};

/// A flat map from "scope/scope/key" to tensors; scalars are tensors of shape [], text is u8. Keys keep their
/// order by name, so equal states are equal maps.
class StateMap {
 public:
  std::map<std::string, StateEntry, std::less<>> entries;
};

/// Writes below a prefix of a StateMap.
class StateWriter {
 public:
  explicit StateWriter(StateMap& map, std::string prefix = {}) : map_(&map), prefix_(std::move(prefix)) {}
  [[nodiscard]] StateWriter scope(std::string_view name) const;
  void floats(std::string_view key, const Shape& shape, std::span<const float> values);
  void integers(std::string_view key, std::span<const std::int64_t> values);
  void integer(std::string_view key, std::int64_t value);
  void real(std::string_view key, double value);
  void text(std::string_view key, std::string_view value);
  void bytes(std::string_view key, std::span<const std::byte> value);

 private:
  void put(std::string_view key, Dtype dtype, const Shape& shape, std::span<const std::byte> bytes);
  StateMap* map_;
  std::string prefix_;
};

/// Reads below a prefix of a StateMap. A missing key, wrong dtype or wrong shape throws Fault::checkpoint
/// naming it.
class StateReader {
 public:
  explicit StateReader(const StateMap& map, std::string prefix = {})
      : map_(&map), prefix_(std::move(prefix)) {}
  [[nodiscard]] StateReader scope(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view key) const;
  /// True when any key lies below this scope.
  [[nodiscard]] bool any() const;
  [[nodiscard]] std::vector<float> floats(std::string_view key, const Shape& shape) const;
  [[nodiscard]] std::vector<std::int64_t> integers(std::string_view key) const;
  [[nodiscard]] std::int64_t integer(std::string_view key) const;
  [[nodiscard]] double real(std::string_view key) const;
  [[nodiscard]] std::string text(std::string_view key) const;
  [[nodiscard]] std::vector<std::byte> bytes(std::string_view key) const;

 private:
  [[nodiscard]] const StateEntry& get(std::string_view key, Dtype dtype) const;
  const StateMap* map_;
  std::string prefix_;
};

}  // namespace lockstep
