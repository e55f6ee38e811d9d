#include "data/hdf5_types.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "data/info.h"

namespace lockstep::data {
namespace {

/// Handles close themselves, so the library must not clean up at exit: there it would complain about what
/// damaged files left behind, or crash on a file whose last writes failed (disk full).
std::recursive_mutex& library_lock() {
  static std::recursive_mutex lock;
  [[maybe_unused]] static const herr_t no_cleanup = H5dont_atexit();
  return lock;
}

herr_t innermost(unsigned depth, const H5E_error2_t* error, void* into) {
  auto& reason = *static_cast<std::string*>(into);
  if (depth != 0 || error->desc == nullptr) return 0;
  reason = error->desc;
  // Of a failed write or read HDF5 tells the time, the buffer and, among them, what the system said.
  constexpr std::string_view kSystemSaid = "error message = '";
  const std::size_t said = reason.find(kSystemSaid);
  if (said == std::string::npos) return 0;
  reason.erase(0, said + kSystemSaid.size());
  reason.resize(std::min(reason.find('\''), reason.size()));
  return 0;
}

/// A two-byte float: sign at bit 15, then exponent, then mantissa.
hid_t small_float(std::size_t exponent_bits, std::size_t bias) {
  const Hdf5Guard guard;
  const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  const std::size_t mantissa_bits = 15 - exponent_bits;
  H5Tset_fields(type, 15, mantissa_bits, exponent_bits, 0, mantissa_bits);
  H5Tset_ebias(type, bias);
  H5Tset_size(type, 2);
  return type;
}

bool is_big_endian(hid_t type) { return H5Tget_order(type) == H5T_ORDER_BE && H5Tget_size(type) > 1; }

std::string number_text(hid_t type, const char* letter) {
  return fmt::format("{}{}{}", letter, 8 * H5Tget_size(type), is_big_endian(type) ? " big-endian" : "");
}

std::optional<Dtype> integer_dtype(hid_t type) {
  const bool is_signed = H5Tget_sign(type) == H5T_SGN_2;
  switch (H5Tget_size(type)) {
    case 1:
      return is_signed ? Dtype::i32 : Dtype::u8;
    case 2:
      return is_signed ? Dtype::i32 : Dtype::u16;
    case 4:
      return is_signed ? Dtype::i32 : Dtype::i64;
    case 8:
      return Dtype::i64;
    default:
      return std::nullopt;
  }
}

std::optional<Dtype> float_dtype(hid_t type) {
  switch (H5Tget_size(type)) {
    case 2:
      return H5Tget_ebias(type) == 127 ? Dtype::bf16 : Dtype::f16;
    case 4:
      return Dtype::f32;
    case 8:
      return Dtype::f64;
    default:
      return std::nullopt;
  }
}

std::string variable_strings(hid_t attribute, hid_t space, std::size_t count) {
  std::vector<char*> texts(count, nullptr);
  const auto type = owned(H5Tcopy(H5T_C_S1), H5Tclose);
  const auto stored = owned(H5Aget_type(attribute), H5Tclose);
  H5Tset_size(type.id(), H5T_VARIABLE);
  H5Tset_cset(type.id(), H5Tget_cset(stored.id()));
  if (H5Aread(attribute, type.id(), texts.data()) < 0) return "(unreadable)";
  std::string joined;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) joined += '\n';
    if (texts[i] != nullptr) joined += texts[i];
  }
  H5Dvlen_reclaim(type.id(), space, H5P_DEFAULT, texts.data());
  return joined;
}

std::string fixed_strings(hid_t attribute, hid_t type, std::size_t count) {
  const std::size_t width = H5Tget_size(type);
  std::vector<char> bytes(width * count);
  if (H5Aread(attribute, type, bytes.data()) < 0) return "(unreadable)";
  std::string joined;
  for (std::size_t i = 0; i < count; ++i) {
    std::string text(bytes.data() + i * width, width);
    text.resize(std::min(text.find('\0'), text.size()));
    if (H5Tget_strpad(type) == H5T_STR_SPACEPAD) text.erase(text.find_last_not_of(' ') + 1);
    joined += (i > 0 ? "\n" : "") + text;
  }
  return joined;
}

template <class T>
std::string numbers(hid_t attribute, hid_t memory_type, std::size_t count) {
  std::vector<T> values(count);
  if (H5Aread(attribute, memory_type, values.data()) < 0) return "(unreadable)";
  return fmt::format("{}", fmt::join(values, ", "));
}

}  // namespace

std::string hdf5_version() {
  const Hdf5Guard guard;
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

Hdf5Guard::Hdf5Guard() : lock_(library_lock()) {
  H5Eget_auto2(H5E_DEFAULT, &print_, &print_data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Hdf5Guard::~Hdf5Guard() { H5Eset_auto2(H5E_DEFAULT, print_, print_data_); }

std::string hdf5_reason() {
  std::string reason = "no reason given";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, &reason);
  return reason;
}

Hdf5Handle owned(hid_t id, herr_t (*close)(hid_t)) { return {id, close}; }

hid_t hdf5_type(Dtype dtype) {
  static const hid_t f16 = small_float(5, 15);
  static const hid_t bf16 = small_float(8, 127);
  switch (dtype) {
    case Dtype::f64:
      return H5T_NATIVE_DOUBLE;
    case Dtype::f32:
      return H5T_NATIVE_FLOAT;
    case Dtype::bf16:
      return bf16;
    case Dtype::f16:
      return f16;
    case Dtype::i64:
      return H5T_NATIVE_INT64;
    case Dtype::i32:
      return H5T_NATIVE_INT32;
    case Dtype::u16:
      return H5T_NATIVE_UINT16;
    case Dtype::u8:
      return H5T_NATIVE_UINT8;
  }
  return H5I_INVALID_HID;
}

std::optional<Dtype> dtype_of_type(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return integer_dtype(type);
    case H5T_FLOAT:
      return float_dtype(type);
    case H5T_ENUM: {
      const auto base = owned(H5Tget_super(type), H5Tclose);
      return integer_dtype(base.id());
    }
    default:
      return std::nullopt;
  }
}

std::string type_text(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return number_text(type, H5Tget_sign(type) == H5T_SGN_2 ? "i" : "u");
    case H5T_FLOAT:
      return dtype_of_type(type) == Dtype::bf16 ? "bf16" : number_text(type, "f");
    case H5T_ENUM:
      return "enum";
    case H5T_STRING:
      return "string";
    case H5T_COMPOUND:
      return "compound";
    case H5T_REFERENCE:
      return "reference";
    case H5T_VLEN:
      return "variable-length";
    case H5T_ARRAY:
      return "array";
    case H5T_OPAQUE:
      return "opaque";
    case H5T_BITFIELD:
      return "bitfield";
    default:
      return "unknown type";
  }
}

std::string attribute_text(hid_t attribute) {
  const auto type = owned(H5Aget_type(attribute), H5Tclose);
  const auto space = owned(H5Aget_space(attribute), H5Sclose);
  const auto points = H5Sget_simple_extent_npoints(space.id());
  if (!type.valid() || points < 0) return "(unreadable)";
  const auto count = static_cast<std::size_t>(points);
  switch (H5Tget_class(type.id())) {
    case H5T_STRING:
      return H5Tis_variable_str(type.id()) > 0 ? variable_strings(attribute, space.id(), count)
                                               : fixed_strings(attribute, type.id(), count);
    case H5T_INTEGER:
      return numbers<std::int64_t>(attribute, H5T_NATIVE_INT64, count);
    case H5T_FLOAT:
      return H5Tget_size(type.id()) == 4 ? numbers<float>(attribute, H5T_NATIVE_FLOAT, count)
                                         : numbers<double>(attribute, H5T_NATIVE_DOUBLE, count);
    default:
      return "(" + type_text(type.id()) + ")";
  }
}

}  // namespace lockstep::data
