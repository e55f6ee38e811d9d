// HDF5 state dicts on the data room's file handles; its faults become faults of a weight file.
#include "trainer/state_dict.h"

#include <spdlog/fmt/fmt.h>

#include <span>

#include "core/error.h"
#include "core/flat_span.h"
#include "core/output.h"
#include "data/hdf5_file.h"

namespace lockstep::trainer {
namespace {

constexpr const char* kGroup = "/state_dict";

template <class Action>
auto as_weight_fault(const Action& action) {
  try {
    return action();
  } catch (const Error& error) {
    if (error.fault() != Fault::data) throw;
    throw Error(Fault::checkpoint, error.what(), error.hint());
  }
}

NamedTensor read_tensor(const data::Hdf5Array& array) {
  const data::Hdf5Storage& storage = array.storage();
  NamedTensor tensor{.shape = storage.shape, .values = {}, .type = storage.type};
  const bool floating =
      storage.dtype == Dtype::f32 || storage.dtype == Dtype::f64 || storage.dtype == Dtype::f16;
  if (!floating) return tensor;
  tensor.values.resize(static_cast<std::size_t>(storage.shape.count()));
  array.read(flat(std::span(tensor.values)));
  return tensor;
}

}  // namespace

NamedTensors read_state_dict(const std::string& path) {
  return as_weight_fault([&] {
    const auto file = data::Hdf5File::open(path);
    const std::string group = file.has_group(kGroup) ? kGroup : "";
    NamedTensors tensors;
    for (const std::string& name : file.datasets(group.empty() ? "/" : group)) {
      tensors[name] = read_tensor(file.dataset(group + "/" + name));
    }
    if (tensors.empty()) {
      throw Error(Fault::checkpoint, fmt::format("'{}' has no datasets in 'state_dict' or at its top", path),
                  "store each tensor as a dataset state_dict/<PyTorch name>");
    }
    return tensors;
  });
}

void write_state_dict(const std::string& path, const NamedTensors& tensors) {
  check_replaceable(path, Fault::checkpoint);
  as_weight_fault([&] {
    auto file = data::Hdf5File::create(path);
    file.make_group(kGroup);
    for (const auto& [name, tensor] : tensors) {
      auto dataset = file.make_dataset(fmt::format("{}/{}", kGroup, name), Dtype::f32, tensor.shape);
      std::vector<float> values = tensor.values;
      dataset.write_rows(0, tensor.shape.rank() == 0 ? 1 : tensor.shape[0], flat(std::span(values)));
    }
    file.flush();
  });
}

}  // namespace lockstep::trainer
