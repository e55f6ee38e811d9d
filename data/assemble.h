// Turns picked samples into what the model is fed: reads the tensors, checks labels, augments, normalises.
// One assembler per kind of data set: images or any tensors with a target, windows of tokens, fields.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/sampler.h"

namespace lockstep::data {

/// Buffers of one thread, reused.
struct Scratch {
  std::vector<std::byte> input;
  std::vector<std::byte> target;
  std::vector<std::int64_t> indices;
  std::vector<float> plane;
};

class Assembler {
 public:
  virtual ~Assembler() = default;
  /// Shapes, dtypes, classes and the number of samples to deal.
  [[nodiscard]] virtual LoaderSpec spec() const = 0;
  /// Writes a microbatch to dense host arrays. Thread-safe with a scratch of one's own. Throws Fault::data
  /// naming file and sample.
  virtual void assemble(const Pick& pick, std::byte* input, std::byte* target, Scratch& scratch) const = 0;
};

/// What an assembler is made of.
struct AssemblerOptions {
  bool train = true;
  std::uint64_t seed = 0;
};

/// Chooses by the data set's tensors. Throws Fault::config when the settings do not fit them.
[[nodiscard]] std::unique_ptr<Assembler> make_assembler(const Dataset& dataset, const Options& settings,
                                                        const AssemblerOptions& options);

/// The kinds, each in its own file.
[[nodiscard]] std::unique_ptr<Assembler> assemble_samples(const Dataset&, const Options&,
                                                          const AssemblerOptions&);
[[nodiscard]] std::unique_ptr<Assembler> assemble_tokens(const Dataset&, const Options&,
                                                         const AssemblerOptions&);
[[nodiscard]] std::unique_ptr<Assembler> assemble_fields(const Dataset&, const Options&,
                                                         const AssemblerOptions&);

/// The number of classes that the settings or else the files state, 0: neither. Throws Fault::data when
/// labels of 32 bits cannot count them.
[[nodiscard]] std::int64_t classes_of(const Dataset& dataset, const Options& settings);

/// Position of a tensor among sample(); -1 when there is none of that name.
[[nodiscard]] int tensor_index(const Dataset& dataset, const std::string& name);
/// The named tensor, or when `given` is empty the first of `candidates` that exists; -1 when none does.
/// Throws Fault::config for a given name that does not exist.
[[nodiscard]] int choose_tensor(const Dataset& dataset, const std::string& given, const std::string& where,
                                std::span<const char* const> candidates);

/// y = x * scale + offset, per channel.
struct Normalisation {
  std::vector<float> scale;
  std::vector<float> offset;
};
/// From the settings, or the facts of the data set; `unit` is what the stored value 1.0 is (255 for 8-bit
/// images). Throws Fault::config when the number of channels does not fit.
[[nodiscard]] Normalisation normalisation_of(const Dataset& dataset, const Options& settings,
                                             std::int64_t channels, double unit);

/// Reads one tensor of `indices` into `into`, which grows as needed.
void read_tensor(const Dataset& dataset, int tensor, std::span<const std::int64_t> indices,
                 std::vector<std::byte>& into);

/// Element `i` of an array of numbers, as T.
template <class T>
[[nodiscard]] T element_as(const std::byte* data, Dtype dtype, std::size_t i) {
  switch (dtype) {
    case Dtype::f64:
      return static_cast<T>(reinterpret_cast<const double*>(data)[i]);
    case Dtype::f32:
      return static_cast<T>(reinterpret_cast<const float*>(data)[i]);
    case Dtype::bf16:
      return static_cast<T>(static_cast<float>(reinterpret_cast<const Bf16*>(data)[i]));
    case Dtype::f16:
      return static_cast<T>(static_cast<float>(reinterpret_cast<const F16*>(data)[i]));
    case Dtype::i64:
      return static_cast<T>(reinterpret_cast<const std::int64_t*>(data)[i]);
    case Dtype::i32:
      return static_cast<T>(reinterpret_cast<const std::int32_t*>(data)[i]);
    case Dtype::u16:
      return static_cast<T>(reinterpret_cast<const std::uint16_t*>(data)[i]);
    case Dtype::u8:
      return static_cast<T>(reinterpret_cast<const std::uint8_t*>(data)[i]);
  }
  return T{};
}

/// `count` numbers converted to f32.
void to_floats(const std::byte* from, Dtype dtype, std::size_t count, float* into);

}  // namespace lockstep::data
