#include "core/state.h"

#include <cstring>

#include "core/error.h"

namespace lockstep {
namespace {

std::string join(const std::string& prefix, std::string_view key) {
  return prefix.empty() ? std::string(key) : prefix + "/" + std::string(key);
}

/// The elements of an entry whose dtype was checked.
template <class T>
std::vector<T> elements(const StateEntry& entry) {
  std::vector<T> values(entry.bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), entry.bytes.data(), values.size() * sizeof(T));
  return values;
}

constexpr auto kForeign =
    "the checkpoint belongs to another configuration or version: resume with the settings that wrote it, or "
    "begin a new run from its weights with init.weights";

/// The one element of a scalar entry.
template <class T>
T scalar(const StateEntry& entry, const std::string& name) {
  const std::vector<T> values = elements<T>(entry);
  if (values.size() != 1) {
    throw Error(Fault::checkpoint,
                "saved state '" + name + "' has shape " + entry.shape.text() + ", not one number",
                "the checkpoint belongs to another configuration");
  }
  return values[0];
}

}  // namespace

StateWriter StateWriter::scope(std::string_view name) const {
  return StateWriter(*map_, join(prefix_, name));
}

void StateWriter::put(std::string_view key, Dtype dtype, const Shape& shape,
                      std::span<const std::byte> bytes) {
  const std::string name = join(prefix_, key);
  if (static_cast<std::size_t>(shape.count()) * size_of(dtype) != bytes.size()) {
    throw Error(Fault::internal, "state '" + name + "' of shape " + shape.text() + " was given " +
                                     std::to_string(bytes.size()) + " bytes");
  }
  if (!map_->entries.emplace(name, StateEntry{dtype, shape, {bytes.begin(), bytes.end()}}).second) {
    throw Error(Fault::internal, "state '" + name + "' is written twice");
  }
}

void StateWriter::floats(std::string_view key, const Shape& shape, std::span<const float> values) {
  put(key, Dtype::f32, shape, std::as_bytes(values));
}

void StateWriter::integers(std::string_view key, std::span<const std::int64_t> values) {
  put(key, Dtype::i64, {static_cast<std::int64_t>(values.size())}, std::as_bytes(values));
}

void StateWriter::integer(std::string_view key, std::int64_t value) {
  put(key, Dtype::i64, {}, std::as_bytes(std::span(&value, 1)));
}

void StateWriter::real(std::string_view key, double value) {
  put(key, Dtype::f64, {}, std::as_bytes(std::span(&value, 1)));
}

void StateWriter::text(std::string_view key, std::string_view value) {
  bytes(key, std::as_bytes(std::span(value)));
}

void StateWriter::bytes(std::string_view key, std::span<const std::byte> value) {
  put(key, Dtype::u8, {static_cast<std::int64_t>(value.size())}, value);
}

StateReader StateReader::scope(std::string_view name) const {
  return StateReader(*map_, join(prefix_, name));
}

bool StateReader::has(std::string_view key) const { return map_->entries.contains(join(prefix_, key)); }

bool StateReader::any() const {
  const std::string start = prefix_.empty() ? "" : prefix_ + "/";
  const auto found = map_->entries.lower_bound(start);
  return found != map_->entries.end() && found->first.starts_with(start);
}

const StateEntry& StateReader::get(std::string_view key, Dtype dtype) const {
  const std::string name = join(prefix_, key);
  const auto found = map_->entries.find(name);
  if (found == map_->entries.end()) {
    throw Error(Fault::checkpoint, "saved state lacks '" + name + "'", kForeign);
  }
  if (found->second.dtype != dtype) {
    throw Error(Fault::checkpoint,
                "saved state '" + name + "' holds " + std::string(name_of(found->second.dtype)) + ", not " +
                    std::string(name_of(dtype)),
                kForeign);
  }
  return found->second;
}

std::vector<float> StateReader::floats(std::string_view key, const Shape& shape) const {
  const StateEntry& entry = get(key, Dtype::f32);
  if (entry.shape != shape) {
    throw Error(
        Fault::checkpoint,
        "saved state '" + join(prefix_, key) + "' has shape " + entry.shape.text() + ", not " + shape.text(),
        kForeign);
  }
  return elements<float>(entry);
}

std::vector<std::int64_t> StateReader::integers(std::string_view key) const {
  return elements<std::int64_t>(get(key, Dtype::i64));
}

std::int64_t StateReader::integer(std::string_view key) const {
  return scalar<std::int64_t>(get(key, Dtype::i64), join(prefix_, key));
}

double StateReader::real(std::string_view key) const {
  return scalar<double>(get(key, Dtype::f64), join(prefix_, key));
}

std::string StateReader::text(std::string_view key) const {
  const std::vector<char> letters = elements<char>(get(key, Dtype::u8));
  return {letters.begin(), letters.end()};
}

std::vector<std::byte> StateReader::bytes(std::string_view key) const { return get(key, Dtype::u8).bytes; }

}  // namespace lockstep
