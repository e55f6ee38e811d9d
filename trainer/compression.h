// Compression as a config asks for it, and the optimizer that goes with it.
#pragma once

#include <memory>
#include <string_view>

#include "comm/compress/options.h"
#include "comm/compress/trial.h"
#include "core/options.h"
#include "core/parameters.h"
#include "trainer/optim/optimizer.h"

namespace lockstep::trainer {

/// True when the config lets `compressor` send slots, by compress.name or a rule.
[[nodiscard]] bool compresses_with(const Config& config, std::string_view compressor);

[[nodiscard]] comm::CompressionOptions compression_options(const Config& config);

/// The config's optimizer; without momentum on gradients when a compressor carries it.
[[nodiscard]] std::unique_ptr<Optimizer> make_optimizer(const Config& config, const SlotLayout& layout,
                                                        Device device);

/// Collective, blocking. The compressor to use. `auto` becomes what a checkpoint (`saved`, its shared part)
/// says, else what pays on this link, bf16, int8 or none, by trying them; `why` says why, and is empty where
/// there was nothing to choose.
[[nodiscard]] comm::Verdict choose_compressor(const StateReader& saved, const comm::ExchangeOptions& options,
                                              const SlotLayout& layout, comm::Collectives& collectives,
                                              comm::Control& control);

/// Throws Fault::config where compressor and optimizer do not fit, by name.
void check_compression(const Config& config);

}  // namespace lockstep::trainer
