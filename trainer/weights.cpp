// The mapping between slots and named tensors. Each slot has candidate names: the ecosystem's, then its own;
// every file name must be used or known to be of no use, every slot must be filled.
#include "trainer/weights.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "trainer/checkpoint.h"
#include "trainer/safetensors.h"
#include "trainer/state_dict.h"

namespace lockstep::trainer {
namespace {

/// What PyTorch's DataParallel and DistributedDataParallel put before every name.
constexpr std::string_view kWrapper = "module.";
/// How many names an error lists.
constexpr std::size_t kListed = 5;

/// One slot of the parameters or the state.
struct Place {
  std::string name;
  Shape shape;
  std::vector<models::Model::ForeignName> candidates;
};

std::vector<Place> places_of(const models::Model& model, const ParameterStore& store) {
  std::vector<Place> places;
  for (const SlotLayout* layout : {&store.layout(), &store.state_layout()}) {
    for (const Slot& slot : layout->slots()) places.push_back({slot.name, slot.shape, {}});
  }
  const auto foreign = model.foreign_names();
  for (Place& place : places) {
    std::ranges::copy_if(foreign, std::back_inserter(place.candidates),
                         [&](const auto& name) { return name.ours == place.name; });
    const bool listed =
        std::ranges::any_of(place.candidates, [&](const auto& name) { return name.theirs == place.name; });
    if (!listed) place.candidates.push_back({place.name, place.name, false});
  }
  return places;
}

std::vector<float> transposed(const std::vector<float>& values, std::int64_t rows, std::int64_t cols) {
  std::vector<float> result(values.size());
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t col = 0; col < cols; ++col) {
      result[static_cast<std::size_t>(col * rows + row)] = values[static_cast<std::size_t>(row * cols + col)];
    }
  }
  return result;
}

Shape swapped(const Shape& shape) { return {shape[1], shape[0]}; }

std::string listing(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kListed); ++i) {
    text += fmt::format("{}'{}'", i > 0 ? ", " : "", names[i]);
  }
  return names.size() > kListed ? fmt::format("{} and {} more", text, names.size() - kListed) : text;
}

using Sources = std::map<std::string_view, const NamedTensor*>;

/// Tensors by name, without the wrapper when all of them carry it.
Sources unwrapped(const NamedTensors& tensors) {
  const bool wrapped =
      std::ranges::all_of(tensors, [](const auto& each) { return each.first.starts_with(kWrapper); });
  Sources bare;
  for (const auto& [name, tensor] : tensors) {
    bare[std::string_view(name).substr(wrapped ? kWrapper.size() : 0)] = &tensor;
  }
  return bare;
}

/// A place and the tensor that fills it.
struct Match {
  std::string slot;
  const NamedTensor* tensor;
  bool transposed;
  [[nodiscard]] std::vector<float> values() const {
    return transposed ? lockstep::trainer::transposed(tensor->values, tensor->shape[0], tensor->shape[1])
                      : tensor->values;
  }
};

/// Matches the tensors of one source to a model, without touching the model.
class Matching {
 public:
  Matching(const NamedTensors& tensors, const std::string& origin)
      : sources_(unwrapped(tensors)), origin_(origin) {}

  /// Finds the tensor of a place, or remembers the place as missing.
  void find(const Place& place) {
    std::vector<Match> found;
    for (const auto& candidate : place.candidates) {
      const auto source = sources_.find(candidate.theirs);
      if (source == sources_.end()) continue;
      check(place, candidate, *source->second);
      used_.insert(source->first);
      found.push_back({place.name, source->second, candidate.transposed});
      if (found.size() > 1 && found.back().values() != found.front().values()) {
        throw Error(Fault::checkpoint,
                    fmt::format("'{}': '{}' differs from the weights it is tied to ('{}')", origin_,
                                candidate.theirs, place.name),
                    "this model shares them; the file is of a model that does not");
      }
    }
    if (found.empty()) {
      missing_.push_back(place.name);
    } else {
      matches_.push_back(found.front());
    }
  }

  /// Refuses what is missing or left over.
  [[nodiscard]] const std::vector<Match>& finish(const std::vector<std::string>& ignored) const {
    std::vector<std::string> extra;
    for (const auto& [name, tensor] : sources_) {
      const std::string_view source = name;
      const bool useless =
          std::ranges::any_of(ignored, [&](const auto& end) { return source.ends_with(end); });
      if (!useless && !used_.contains(name)) extra.emplace_back(name);
    }
    if (missing_.empty() && extra.empty()) return matches_;
    std::string what = fmt::format("'{}' does not fit the model:", origin_);
    if (!missing_.empty()) what += fmt::format(" it lacks {}", listing(missing_));
    if (!extra.empty())
      what += fmt::format("{} the model has no {}", missing_.empty() ? "" : ";", listing(extra));
    throw Error(Fault::checkpoint, what,
                "choose the model and settings (depth, shortcut, layers) the file was made with");
  }

 private:
  void check(const Place& place, const models::Model::ForeignName& candidate,
             const NamedTensor& tensor) const {
    const Shape wanted = candidate.transposed ? swapped(place.shape) : place.shape;
    if (tensor.shape != wanted) {
      throw Error(Fault::checkpoint,
                  fmt::format("'{}': tensor '{}' has shape {}, the model's '{}' wants {}", origin_,
                              candidate.theirs, tensor.shape.text(), place.name, wanted.text()),
                  "choose the model, settings and number of classes the file was made with");
    }
    if (!tensor.readable()) {
      throw Error(Fault::checkpoint,
                  fmt::format("'{}': tensor '{}' has type {}", origin_, candidate.theirs, tensor.type),
                  "convert the weights to F32, F16 or BF16");
    }
  }

  Sources sources_;
  const std::string& origin_;
  std::vector<Match> matches_;
  std::set<std::string_view> used_;
  std::vector<std::string> missing_;
};

/// The first eight bytes of every HDF5 file without a user block.
bool looks_like_hdf5(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 8> start{};
  file.read(start.data(), start.size());
  return file.good() && std::string_view(start.data(), start.size()) == "\x89HDF\r\n\x1a\n";
}

std::vector<float> floats_of(const StateEntry& entry, const std::string& key) {
  if (entry.dtype != Dtype::f32) {
    throw Error(Fault::checkpoint,
                fmt::format("the checkpoint's '{}' has dtype {}", key, name_of(entry.dtype)),
                "it was not written by this program");
  }
  std::vector<float> values(entry.bytes.size() / sizeof(float));
  std::memcpy(values.data(), entry.bytes.data(), values.size() * sizeof(float));
  return values;
}

}  // namespace

NamedTensors read_weights(const std::string& path) {
  std::error_code failure;
  const bool checkpoint = std::filesystem::path(path).filename() == "manifest.json";
  if (checkpoint || std::filesystem::is_directory(path, failure)) return tensors_of(read_shared_state(path));
  if (!std::filesystem::is_regular_file(path, failure)) {
    throw Error(Fault::checkpoint, fmt::format("there is no weight file '{}'", path), "check the path");
  }
  if (looks_like_hdf5(path)) return read_state_dict(path);
  if (looks_like_safetensors(path) || path.ends_with(".safetensors")) return read_safetensors(path);
  throw Error(Fault::checkpoint,
              fmt::format("'{}' is neither a checkpoint, a safetensors file nor an HDF5 state dict", path),
              "convert PyTorch's .pt and .pth with safetensors.torch.save_file(model.state_dict(), ...)");
}

NamedTensors tensors_of(const StateMap& checkpoint) {
  NamedTensors tensors;
  // Later prefixes win.
  for (const std::string_view prefix : {"model/values/", "model/state/", "average/"}) {
    for (const auto& [key, entry] : checkpoint.entries) {
      if (!key.starts_with(prefix)) continue;
      tensors[key.substr(prefix.size())] = {entry.shape, floats_of(entry, key)};
    }
  }
  if (tensors.empty()) {
    throw Error(Fault::checkpoint, "the checkpoint holds no model", "it was not written by this program");
  }
  return tensors;
}

void assign_weights(const NamedTensors& tensors, const std::string& origin, const models::Model& model,
                    ParameterStore& store) {
  Matching matching(tensors, origin);
  for (const Place& place : places_of(model, store)) matching.find(place);
  std::vector<std::string> ignored = model.ignored_endings();
  ignored.emplace_back("num_batches_tracked");
  for (const Match& match : matching.finish(ignored)) store.write(match.slot, match.values());
}

NamedTensors with_foreign_names(const models::Model& model, NamedTensors ours) {
  const auto foreign = model.foreign_names();
  NamedTensors theirs;
  for (auto& [name, tensor] : ours) {
    const auto found = std::ranges::find_if(foreign, [&](const auto& each) { return each.ours == name; });
    // What is no matrix is left to the check of shapes.
    if (found != foreign.end() && found->transposed && tensor.shape.rank() == 2) {
      tensor.values = transposed(tensor.values, tensor.shape[0], tensor.shape[1]);
      tensor.shape = swapped(tensor.shape);
    }
    theirs[found == foreign.end() ? name : found->theirs] = std::move(tensor);
  }
  return theirs;
}

NamedTensors collect_weights(const models::Model& model, const ParameterStore& store) {
  NamedTensors ours;
  for (const SlotLayout* layout : {&store.layout(), &store.state_layout()}) {
    for (const Slot& slot : layout->slots()) ours[slot.name] = {slot.shape, store.read(slot.name)};
  }
  return with_foreign_names(model, std::move(ours));
}

void load_weights(const std::string& path, const models::Model& model, ParameterStore& store) {
  std::error_code unknown;  // read_weights() tells
  const bool checkpoint = std::filesystem::is_directory(path, unknown) ||
                          std::filesystem::path(path).filename() == "manifest.json";
  // A checkpoint has our layout: GPT-2's matrices are not transposed in it.
  assign_weights(
      checkpoint ? with_foreign_names(model, tensors_of(read_shared_state(path))) : read_weights(path), path,
      model, store);
}

void export_safetensors(const std::string& path, const models::Model& model, const ParameterStore& store) {
  write_safetensors(path, collect_weights(model, store));
}

}  // namespace lockstep::trainer
