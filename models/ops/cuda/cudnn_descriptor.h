// cuDNN's backend descriptors as values: made, filled with attributes, finalised, destroyed. A status that is
// not success throws Refused, which for an engine or a plan only means: try the next one.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lockstep::models::cuda {

struct Refused {
  cudnnStatus_t status;
  const char* what;
};
inline void expect(cudnnStatus_t status, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS) throw Refused{status, what};
}

class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    expect(cudnnBackendCreateDescriptor(type, &raw_), "cudnnBackendCreateDescriptor");
  }
  Descriptor(Descriptor&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Descriptor() {
    if (raw_ != nullptr) static_cast<void>(cudnnBackendDestroyDescriptor(raw_));
  }

  [[nodiscard]] cudnnBackendDescriptor_t raw() const noexcept { return raw_; }

  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
                  const void* values) {
    expect(cudnnBackendSetAttribute(raw_, name, type, count, values), "cudnnBackendSetAttribute");
    return *this;
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    return set(name, type, 1, &value);
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const std::vector<std::int64_t>& values) {
    return set(name, CUDNN_TYPE_INT64, static_cast<std::int64_t>(values.size()), values.data());
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, other.raw_);
  }
  Descriptor& finalise() {
    expect(cudnnBackendFinalize(raw_), "cudnnBackendFinalize");
    return *this;
  }

  /// Fills at most `room` values; returns how many there are.
  std::int64_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t room,
                   void* values) const {
    std::int64_t count = 0;
    expect(cudnnBackendGetAttribute(raw_, name, type, room, &count, values), "cudnnBackendGetAttribute");
    return count;
  }

 private:
  cudnnBackendDescriptor_t raw_ = nullptr;
};

}  // namespace lockstep::models::cuda
