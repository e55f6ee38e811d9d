// Which GPUs this process may use, and why there are none.
#include "core/cuda/visible.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "core/cuda/cuda.h"

namespace lockstep::cuda {

namespace {

constexpr const char* kMask = "CUDA_VISIBLE_DEVICES";

std::vector<std::string> entries_of(const std::string& mask) {
  std::vector<std::string> entries;
  std::stringstream words(mask);
  for (std::string word; std::getline(words, word, ',');) entries.push_back(word);
  return entries;
}

/// What is wrong with the mask, or empty.
std::string fault_of_mask() {
  const char* mask = std::getenv(kMask);
  if (mask == nullptr) return {};
  const std::string shown = std::string(kMask) + "='" + mask + "'";
  std::vector<std::string> entries = entries_of(mask);
  if (entries.empty() || entries.front() == "-1" || entries.front() == "NoDevFiles")
    return shown + " hides every GPU";
  std::ranges::sort(entries);
  if (const auto twice = std::ranges::adjacent_find(entries); twice != entries.end())
    return shown + " names GPU " + *twice + " twice, and CUDA then shows none";
  return shown + " names no GPU of this machine";
}

}  // namespace

int visible_devices(std::string& why) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  static_cast<void>(cudaGetLastError());
  why = fault_of_mask();
  if (status == cudaErrorInsufficientDriver) {
    why = "this machine has no NVIDIA driver, or one that is older than CUDA " + cuda_version(CUDART_VERSION);
  } else if (why.empty()) {
    why = status == cudaSuccess || status == cudaErrorNoDevice
              ? "this machine has no NVIDIA GPU that this process may use"
              : std::string("CUDA says: ") + cudaGetErrorString(status);
  }
  return 0;
}

std::string identity_of(Device device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device.index), "cudaGetDeviceProperties");
  std::string text = "GPU-";
  for (const char byte : properties.uuid.bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(byte));
    text += digits;
  }
  return text;
}

std::string model_of(Device device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device.index), "cudaGetDeviceProperties");
  return properties.name;
}

std::string cuda_version(int number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

std::string versions() {
  int driver = 0, runtime = 0;
  static_cast<void>(cudaDriverGetVersion(&driver));
  static_cast<void>(cudaRuntimeGetVersion(&runtime));
  return cuda_version(CUDART_VERSION) + ", found " + cuda_version(runtime) +
         (driver == 0 ? ", no driver" : ", driver for " + cuda_version(driver));
}

}  // namespace lockstep::cuda
