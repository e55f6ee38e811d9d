// Compression as a config asks for it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/compress/options.h"
#include "comm/compress/trial.h"
#include "core/options.h"
#include "core/parameters.h"

namespace lockstep::trainer {

/// True when the config lets `compressor` send slots, by compress.name or a rule.
[[nodiscard]] bool compresses_with(const Config& config, std::string_view compressor);

[[nodiscard]] comm::CompressionOptions compression_options(const Config& config);

/// Collective, blocking. The compressor to use. `auto` becomes what a checkpoint (`saved`, its shared part)
/// says, else what pays on this link, bf16, int8 or none, by trying them; `why` says why, and is empty where
/// there was nothing to choose.
[[nodiscard]] comm::Verdict choose_compressor(const StateReader& saved, const comm::ExchangeOptions& options,
                                              const SlotLayout& layout, comm::Collectives& collectives,
                                              comm::Control& control);

/// `options` take the compressor and, where they leave the exact start open, the one that the run began with,
/// if by the same compressor: a resumed run keeps it, however many steps it has now.
void adopt(const std::string& compressor, const StateReader& saved, comm::CompressionOptions& options);
/// For checkpoints: what adopt() reads.
void save_start(StateWriter& shared, const std::string& compressor, const comm::GradientExchange& exchange);
/// Sentences for the start of a run: how many steps are exact, what fits badly, and which rules change
/// nothing.
[[nodiscard]] std::vector<std::string> compression_notes(const Config& config,
                                                         const comm::GradientExchange& exchange,
                                                         const SlotLayout& layout);
/// "int8", or "none but for 2 rules": for the header of a run.
[[nodiscard]] std::string compression_text(const Config& config, const std::string& compressor);

/// Throws Fault::config where compressor and optimizer do not fit, by name.
void check_compression(const Config& config);

}  // namespace lockstep::trainer
