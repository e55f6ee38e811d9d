#include "onnx_cases.h"

#include <hdf5.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

namespace lockstep::models::testing {
namespace {

/// Owns an HDF5 id.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {
    if (id < 0) throw std::runtime_error("HDF5 refused to open a part of the ONNX vectors");
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { close_(id_); }
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

std::string text_attribute(hid_t object, const char* name) {
  const Handle attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose);
  const Handle type(H5Aget_type(attribute), H5Tclose);
  char* raw = nullptr;
  if (H5Aread(attribute, type, static_cast<void*>(&raw)) < 0)
    throw std::runtime_error("unreadable attribute");
  std::string text = raw == nullptr ? "" : raw;
  H5free_memory(raw);
  return text;
}

OnnxTensor read_tensor(hid_t group, const std::string& name) {
  const Handle set(H5Dopen2(group, name.c_str(), H5P_DEFAULT), H5Dclose);
  const Handle space(H5Dget_space(set), H5Sclose);
  std::vector<hsize_t> extents(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
  H5Sget_simple_extent_dims(space, extents.data(), nullptr);
  OnnxTensor tensor;
  tensor.shape = Shape(std::vector<std::int64_t>(extents.begin(), extents.end()));
  tensor.values.resize(static_cast<std::size_t>(tensor.shape.count()));
  if (tensor.values.empty()) return tensor;
  const Handle type(H5Dget_type(set), H5Tclose);
  if (H5Tget_class(type) == H5T_ENUM) {  // booleans: only ever masks, which no case reads
    tensor.values.clear();
  } else if (H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.values.data()) < 0) {
    throw std::runtime_error("unreadable tensor " + name);
  }
  return tensor;
}

std::vector<OnnxTensor> read_tensors(hid_t group, const std::string& prefix) {
  std::vector<OnnxTensor> tensors;
  while (true) {
    const std::string name = prefix + std::to_string(tensors.size());
    if (H5Lexists(group, name.c_str(), H5P_DEFAULT) <= 0) return tensors;
    tensors.push_back(read_tensor(group, name));
  }
}

nlohmann::json value_of(const std::string& attributes, const std::string& name) {
  const auto all = nlohmann::json::parse(attributes);
  return all.contains(name) ? all.at(name) : nlohmann::json();
}

}  // namespace

bool OnnxCase::has(const std::string& attribute) const { return !value_of(attributes, attribute).is_null(); }
std::int64_t OnnxCase::integer(const std::string& attribute, std::int64_t fallback) const {
  const auto value = value_of(attributes, attribute);
  return value.is_null() ? fallback : value.get<std::int64_t>();
}
double OnnxCase::real(const std::string& attribute, double fallback) const {
  const auto value = value_of(attributes, attribute);
  return value.is_null() ? fallback : value.get<double>();
}
std::string OnnxCase::text(const std::string& attribute, const std::string& fallback) const {
  const auto value = value_of(attributes, attribute);
  return value.is_null() ? fallback : value.get<std::string>();
}
std::vector<std::int64_t> OnnxCase::integers(const std::string& attribute,
                                             std::vector<std::int64_t> fallback) const {
  const auto value = value_of(attributes, attribute);
  return value.is_null() ? fallback : value.get<std::vector<std::int64_t>>();
}

std::vector<OnnxCase> load_onnx_cases(const std::string& path) {
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  std::vector<std::string> names;
  const auto note = [](hid_t, const char* name, const H5L_info_t*, void* list) -> herr_t {
    static_cast<std::vector<std::string>*>(list)->emplace_back(name);
    return 0;
  };
  H5Literate(file, H5_INDEX_NAME, H5_ITER_INC, nullptr, note, &names);
  std::vector<OnnxCase> cases;
  for (const std::string& name : names) {
    const Handle group(H5Gopen2(file, name.c_str(), H5P_DEFAULT), H5Gclose);
    OnnxCase each;
    each.name = name;
    each.op = text_attribute(group, "op");
    each.attributes = text_attribute(group, "attributes");
    each.inputs = read_tensors(group, "input_");
    each.outputs = read_tensors(group, "output_");
    cases.push_back(std::move(each));
  }
  return cases;
}

}  // namespace lockstep::models::testing
