// Weights into and out of a model by the names that PyTorch's ecosystem uses: torchvision's and the CIFAR
// ResNets' as they are, Hugging Face's GPT-2 with its transposed matrices.
#pragma once

#include <string>

#include "core/parameters.h"
#include "core/state.h"
#include "models/model.h"
#include "trainer/named_tensors.h"

namespace lockstep::trainer {

/// The tensors of a safetensors file, an HDF5 state dict or a checkpoint (its directory, its manifest.json,
/// or a run directory: the newest), told apart by content. Throws Fault::checkpoint naming the file when it
/// is missing, damaged or none of these.
[[nodiscard]] NamedTensors read_weights(const std::string& path);

/// The model in the shared state of a checkpoint ("model/values/*", "model/state/*"); averaged weights
/// ("average/*") take the place of the values where there are any. Throws Fault::checkpoint when it has none.
[[nodiscard]] NamedTensors tensors_of(const StateMap& checkpoint);

/// Gives every slot and every state its tensor. Names may start with "module."; "num_batches_tracked" and
/// what the model says to ignore are passed over. `origin` names the tensors' source in errors. Throws
/// Fault::checkpoint, leaving the store as it was, naming the tensor and both shapes: missing, left over,
/// mis-shaped, of a type that is no float, or stored twice with different values. Blocking: no stream may use
/// the store.
void assign_weights(const NamedTensors& tensors, const std::string& origin, const models::Model& model,
                    ParameterStore& store);

/// Every slot and state under the names (and in the layout) that the ecosystem's files use. Blocking.
[[nodiscard]] NamedTensors collect_weights(const models::Model& model, const ParameterStore& store);

/// Tensors named as our slots under the names (and in the layout) that the ecosystem's files use.
[[nodiscard]] NamedTensors with_foreign_names(const models::Model& model, NamedTensors ours);

/// read_weights() or, for a checkpoint (its directory, manifest or run directory), tensors_of() in the layout
/// of the ecosystem's files; then assign_weights().
void load_weights(const std::string& path, const models::Model& model, ParameterStore& store);

/// collect_weights() into a safetensors file.
void export_safetensors(const std::string& path, const models::Model& model, const ParameterStore& store);

}  // namespace lockstep::trainer
