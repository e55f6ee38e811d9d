#include "core/memory.h"

#include <array>
#include <cstdio>
#include <utility>

#include "core/backends.h"
#include "core/error.h"

namespace lockstep {

Memory::Memory(void* data, std::size_t bytes, Device device, std::function<void(void*)> release)
    : data_(data), bytes_(bytes), device_(device), release_(std::move(release)) {}

Memory::Memory(Memory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      device_(other.device_),
      release_(std::exchange(other.release_, nullptr)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  Memory taken(std::move(other));
  std::swap(data_, taken.data_);
  std::swap(bytes_, taken.bytes_);
  std::swap(device_, taken.device_);
  std::swap(release_, taken.release_);
  return *this;
}

Memory::~Memory() {
  if (data_ != nullptr && release_) release_(data_);
}

FlatSpan Memory::view(Dtype dtype, std::int64_t count, std::size_t offset) const {
  const std::size_t size = size_of(dtype);
  const bool fits =
      count >= 0 && offset <= bytes_ && static_cast<std::size_t>(count) <= (bytes_ - offset) / size;
  if (!fits || offset % size != 0) {
    throw Error(Fault::internal, "a view of " + std::to_string(count) + " " + std::string(name_of(dtype)) +
                                     " at byte " + std::to_string(offset) + " of a block of " +
                                     std::to_string(bytes_) + " bytes");
  }
  return {static_cast<std::byte*>(data_) + offset, count, dtype, device_};
}

Memory allocate(Device device, std::size_t bytes) { return backend_of(device).allocate(device, bytes); }

Memory allocate_staging(Device device, std::size_t bytes) {
  return backend_of(device).allocate_staging(device, bytes);
}

FlatArray make_array(Device device, Dtype dtype, std::int64_t count) {
  if (count < 0) throw Error(Fault::internal, "an array of " + std::to_string(count) + " elements");
  Memory memory = allocate(device, static_cast<std::size_t>(count) * size_of(dtype));
  const FlatSpan span = memory.view(dtype, count);
  return {std::move(memory), span};
}

void copy_to_host(FlatSpan from, void* to) {
  backend_of(from.device).copy_to_host(from.device, from.data, to, from.bytes());
}

void copy_from_host(const void* from, FlatSpan to) {
  backend_of(to.device).copy_from_host(to.device, from, to.data, to.bytes());
}

void copy(FlatSpan from, FlatSpan to, Stream& stream) {
  if (from.bytes() != to.bytes())
    throw Error(Fault::internal, "a copy of " + std::to_string(from.bytes()) + " bytes to " +
                                     std::to_string(to.bytes()) + " bytes");
  backend_of(stream.device()).copy(from.data, to.data, from.bytes(), stream);
}

std::string bytes_text(std::size_t bytes) {
  constexpr std::array kUnits = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1023.95 && unit + 1 < kUnits.size(); ++unit)
    value /= 1024;  // 1023.95 would print as 1024.0
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", value, kUnits[unit]);
  return text.data();
}

}  // namespace lockstep
