// Runs of a trained model without training: evaluation over a split, and generation of text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "comm/transport.h"
#include "core/options.h"
#include "trainer/evaluate.h"

namespace lockstep::trainer {

/// Collective. Evaluates the weights in `file` (checkpoint, safetensors or HDF5 state dict) on the config's
/// evaluation split. `predictions`, when not empty, names a file for what the model says to each sample
/// (predictions.h).
[[nodiscard]] Evaluation evaluate_file(const Config& config, const std::string& file, comm::World& world,
                                       const std::string& predictions = {});

struct GenerationOptions {
  std::string prompt;
  std::int64_t tokens = 200;
  double temperature = 1;  ///< 0: always the likeliest token
  std::int64_t top_k = 0;  ///< 0: all tokens
  std::uint64_t seed = 1;
};

/// Continues the prompt with a language model, one rank. `piece` receives text as it comes. Throws
/// Fault::config when the data set has no tokenizer.
void generate(const Config& config, const std::string& file, const GenerationOptions& options,
              const std::function<void(const std::string&)>& piece);

}  // namespace lockstep::trainer
