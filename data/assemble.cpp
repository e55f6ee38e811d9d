#include "data/assemble.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"

namespace lockstep::data {
namespace {

std::string tensor_list(const Dataset& dataset) {
  std::string list;
  for (const auto& tensor : dataset.sample()) {
    list += fmt::format("{}{} {} {}", list.empty() ? "" : ", ", tensor.name, name_of(tensor.dtype),
                        tensor.shape.text());
  }
  return list;
}

/// Numbers separated by ", ".
std::vector<double> numbers_in(const std::string& text) {
  std::vector<double> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    double number = 0;
    const auto [next, failure] = std::from_chars(at, end, number);
    if (failure == std::errc{}) numbers.push_back(number);
    at = failure == std::errc{} ? next : at + 1;
  }
  return numbers;
}

std::vector<double> per_channel(const Dataset& dataset, const Options& settings, const char* key,
                                std::int64_t channels, double fallback) {
  auto values = settings.reals(key);
  std::string origin = settings.where(key);
  if (values.empty()) {
    values = numbers_in(dataset.fact(key));
    origin = fmt::format("'{}' of '{}'", key, dataset.files().front().path);
  }
  if (values.empty()) values.push_back(fallback);
  if (values.size() == 1) values.assign(static_cast<std::size_t>(channels), values.front());
  if (static_cast<std::int64_t>(values.size()) != channels) {
    throw Error(Fault::config,
                fmt::format("{} has {} values for {} channels", origin, values.size(), channels),
                "give one value, or one per channel");
  }
  return values;
}

template <class T>
void convert(const std::byte* from, std::size_t count, float* into) {
  const T* values = reinterpret_cast<const T*>(from);
  for (std::size_t i = 0; i < count; ++i) into[i] = static_cast<float>(values[i]);
}

}  // namespace

std::int64_t classes_of(const Dataset& dataset, const Options& settings) {
  const std::int64_t given = settings.integer("classes");
  const std::int64_t classes = given > 0 ? given : dataset.classes();
  if (classes <= std::numeric_limits<std::int32_t>::max()) return classes;
  throw Error(Fault::data,
              fmt::format("'{}' states {} classes, more than labels can count", dataset.files().front().path,
                          classes),
              "set data.classes, or import the data again");
}

int tensor_index(const Dataset& dataset, const std::string& name) {
  const auto tensors = dataset.sample();
  const auto found = std::ranges::find(tensors, name, &TensorSpec::name);
  return found == tensors.end() ? -1 : static_cast<int>(found - tensors.begin());
}

int choose_tensor(const Dataset& dataset, const std::string& given, const std::string& where,
                  std::span<const char* const> candidates) {
  if (!given.empty()) {
    const int index = tensor_index(dataset, given);
    if (index >= 0) return index;
    throw Error(Fault::config, fmt::format("{}: the data set has no tensor '{}'", where, given),
                "it has: " + tensor_list(dataset));
  }
  for (const char* name : candidates) {
    if (const int index = tensor_index(dataset, name); index >= 0) return index;
  }
  return -1;
}

Normalisation normalisation_of(const Dataset& dataset, const Options& settings, std::int64_t channels,
                               double unit) {
  Normalisation normalisation;
  const bool shift = settings.boolean("normalise");
  const auto mean = shift ? per_channel(dataset, settings, "mean", channels, 0)
                          : std::vector<double>(static_cast<std::size_t>(channels), 0);
  const auto deviation = shift ? per_channel(dataset, settings, "deviation", channels, 1)
                               : std::vector<double>(static_cast<std::size_t>(channels), 1);
  for (std::size_t channel = 0; channel < mean.size(); ++channel) {
    if (!(deviation[channel] > 0) || !std::isfinite(deviation[channel])) {
      throw Error(Fault::config,
                  fmt::format("deviation of channel {} is {}, not positive", channel, deviation[channel]),
                  "set data.deviation, or import the data again");
    }
    if (!std::isfinite(mean[channel])) {
      throw Error(Fault::config, fmt::format("mean of channel {} is {}", channel, mean[channel]),
                  "set data.mean, or import the data again");
    }
    normalisation.scale.push_back(static_cast<float>(1 / (unit * deviation[channel])));
    normalisation.offset.push_back(static_cast<float>(-mean[channel] / deviation[channel]));
  }
  return normalisation;
}

void read_tensor(const Dataset& dataset, int tensor, std::span<const std::int64_t> indices,
                 std::vector<std::byte>& into) {
  const auto which = static_cast<std::size_t>(tensor);
  SampleBuffers buffers{std::vector<std::byte*>(dataset.sample().size(), nullptr)};
  into.resize(std::max(into.size(), dataset.sample()[which].bytes() * indices.size()));
  buffers.tensors[which] = into.data();
  dataset.read(indices, buffers);
}

void to_floats(const std::byte* from, Dtype dtype, std::size_t count, float* into) {
  switch (dtype) {
    case Dtype::f64:
      return convert<double>(from, count, into);
    case Dtype::f32:
      return convert<float>(from, count, into);
    case Dtype::bf16:
      return convert<Bf16>(from, count, into);
    case Dtype::f16:
      return convert<F16>(from, count, into);
    case Dtype::i64:
      return convert<std::int64_t>(from, count, into);
    case Dtype::i32:
      return convert<std::int32_t>(from, count, into);
    case Dtype::u16:
      return convert<std::uint16_t>(from, count, into);
    case Dtype::u8:
      return convert<std::uint8_t>(from, count, into);
  }
}

std::unique_ptr<Assembler> make_assembler(const Dataset& dataset, const Options& settings,
                                          const AssemblerOptions& options) {
  const auto tensors = dataset.sample();
  const std::string input = settings.text("input");
  const bool tokens = tensor_index(dataset, "tokens") >= 0 && (input.empty() || input == "tokens");
  if (tokens && tensors[static_cast<std::size_t>(tensor_index(dataset, "tokens"))].shape.rank() == 0) {
    return assemble_tokens(dataset, settings, options);
  }
  if (settings.integer("downsample") > 1) return assemble_fields(dataset, settings, options);
  return assemble_samples(dataset, settings, options);
}

}  // namespace lockstep::data
