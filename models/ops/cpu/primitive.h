// A oneDNN primitive with its arguments: made once, then run on raw pointers. Include it in .cpp files only.
#pragma once

#include <unordered_map>
#include <vector>

#include "models/ops/cpu/dnnl_compat.h"
#include "models/ops/kernel.h"

namespace lockstep::models::cpu::onednn {

/// Attributes that every primitive of this backend has: scratch memory is the caller's, so it is planned with
/// the activations and two streams never share it.
[[nodiscard]] inline dnnl::primitive_attr attributes() {
  dnnl::primitive_attr plain;
  plain.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return plain;
}

class Primitive {
 public:
  struct Argument {
    int key;
    Layout layout;
  };
  Primitive() = default;
  Primitive(dnnl::primitive primitive, const std::vector<Argument>& arguments)
      : primitive_(std::move(primitive)) {
    for (const Argument& each : arguments)
      memories_.emplace(each.key, dnnl::memory(each.layout, engine(), DNNL_MEMORY_NONE));
  }
  [[nodiscard]] explicit operator bool() const { return !memories_.empty(); }

  /// Points argument `key` to its data.
  void set(int key, const void* data) {
    dnnl::memory& memory = memories_.at(key);
    auto* pointer = const_cast<void*>(data);
    if (memory.get_data_handle() != pointer) memory.set_data_handle(pointer);
  }
  /// Runs on the calling thread and the library threads, and waits.
  void run() {
    static thread_local dnnl::stream stream(engine());
    primitive_.execute(stream, memories_);
    stream.wait();
  }

 private:
  dnnl::primitive primitive_;
  std::unordered_map<int, dnnl::memory> memories_;
};

}  // namespace lockstep::models::cpu::onednn
