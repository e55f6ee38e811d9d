// Owned blocks of memory, host first: 256-byte aligned, zero-filled, of a fixed size.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "core/device.h"
#include "core/flat_span.h"
#include "core/stream.h"

namespace lockstep {

/// One block. Movable; frees itself through the deleter of whoever made it, so that a communication layer can
/// lend a shared window or registered memory as the gradient array.
class Memory {
 public:
  Memory() = default;
  Memory(void* data, std::size_t bytes, Device device, std::function<void(void*)> release);
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;
  ~Memory();

  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] Device device() const noexcept { return device_; }
  /// A typed view of the first `count` elements at byte `offset`.
  [[nodiscard]] FlatSpan view(Dtype dtype, std::int64_t count, std::size_t offset = 0) const;

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Device device_ = {};
  std::function<void(void*)> release_;
};

/// A zero-filled block aligned to 256 bytes. Throws Fault::device with the size when there is no room.
[[nodiscard]] Memory allocate(Device device, std::size_t bytes);

/// Zero-filled host memory (its device() is the host) that copies to and from `device` run best from: on a
/// GPU page-locked, so that they are asynchronous.
[[nodiscard]] Memory allocate_staging(Device device, std::size_t bytes);

/// Typed, owned flat array: the usual way to hold memory.
struct FlatArray {
  Memory memory;
  FlatSpan span;
};
[[nodiscard]] FlatArray make_array(Device device, Dtype dtype, std::int64_t count);

/// Blocking copies of a whole span to and from host memory of the same size. The caller makes sure that no
/// stream is using the bytes.
void copy_to_host(FlatSpan from, void* to);
void copy_from_host(const void* from, FlatSpan to);

/// Enqueues a copy of a whole span between host memory and the stream's device, or within it; sizes are
/// equal. Host memory should come from allocate_staging(), or the call may wait for the copy.
void copy(FlatSpan from, FlatSpan to, Stream& stream);

/// "512 bytes", "1.5 GiB": a size for people.
[[nodiscard]] std::string bytes_text(std::size_t bytes);

}  // namespace lockstep
