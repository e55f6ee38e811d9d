#include "trainer/compression.h"

#include <algorithm>
#include <string>
#include <utility>

#include "comm/compress/compressor.h"
#include "comm/compress/rules.h"
#include "core/error.h"

namespace lockstep::trainer {

namespace {

// In the shared part of a checkpoint.
constexpr auto kCompressor = "compressor";
constexpr auto kExactSteps = "exact_steps";

/// What error feedback costs with second moments: nats of the small GPT in docs/compression.md, "An exact
/// start", after 200 of 1000 steps.
constexpr std::pair<const char*, const char*> kBadWithAdam[] = {{"ef_sign", "0.22"}, {"random_k", "0.24"}};

bool does_without_feedback(const Config& config, std::string_view compressor) {
  return compressor == "random_k" && config.part_name("optimizer") == "adamw" &&
         !config.part("compress", compressor).boolean("adam_feedback");
}

/// A pattern misspelt would otherwise train for days without what it asks for.
std::vector<std::string> idle_rules(const Config& config, const SlotLayout& layout) {
  std::vector<std::string> notes;
  for (const std::string& pattern : comm::SlotRules(compression_options(config)).idle(layout.slots()))
    notes.push_back("compression: no slot that can be compressed matches '" + pattern +
                    "' of compress.rules; checkpoints and exported weights hold the names of slots");
  return notes;
}

}  // namespace

bool compresses_with(const Config& config, std::string_view compressor) {
  const std::vector<std::string> rules = config.section("compress").texts("rules");
  const std::string ending = "=" + std::string(compressor);
  return config.part_name("compress") == compressor ||
         std::any_of(rules.begin(), rules.end(), [&](const auto& rule) { return rule.ends_with(ending); });
}

comm::CompressionOptions compression_options(const Config& config) {
  const Options compress = config.section("compress");
  const Options optimizer = config.part("optimizer");
  comm::CompressionOptions options;
  options.name = config.part_name("compress");
  options.settings = [config](std::string_view name) { return config.part("compress", name); };
  options.rules = compress.texts("rules");
  options.min_elements = compress.integer("min_elements");
  options.exact_steps = compress.integer("exact_steps");
  options.sample_every = compress.integer("sample_every");
  options.seed = static_cast<std::uint64_t>(config.section("run").integer("seed"));
  if (config.part_name("optimizer") == "sgd") {
    options.momentum_kind = comm::MomentumKind::heavy_ball;
    options.momentum = static_cast<float>(optimizer.real("momentum"));
    options.nesterov = optimizer.boolean("nesterov");
  } else if (config.part_name("optimizer") == "adamw") {
    options.momentum_kind = comm::MomentumKind::average;
    options.momentum = static_cast<float>(optimizer.real("beta1"));
  } else if (config.part_name("optimizer") == "onebit_adam") {
    options.momentum_kind = comm::MomentumKind::average;
    options.momentum = static_cast<float>(optimizer.real("beta1"));
    const std::int64_t freeze_steps = optimizer.integer("freeze_steps");
    options.exact_steps = freeze_steps > 0 ? freeze_steps : comm::kExactStart;
  }
  return options;
}

comm::Verdict choose_compressor(const StateReader& saved, const comm::ExchangeOptions& options,
                                const SlotLayout& layout, comm::Collectives& collectives,
                                comm::Control& control) {
  const std::string& name = options.compression.name;
  if (name != "auto") return {name, ""};
  if (saved.has(kCompressor)) {
    const std::string chosen = saved.text(kCompressor);
    return {chosen, "compression: " + chosen + ", as the run chose when it started"};
  }
  // Those that need neither error feedback nor other rates to train alike.
  comm::Verdict verdict =
      comm::judge_trials(comm::try_compressors(layout, collectives, control, options, {"bf16", "int8"}));
  verdict.why = "compression: " + verdict.why;
  return verdict;
}

void adopt(const std::string& compressor, const StateReader& saved, comm::CompressionOptions& options) {
  options.name = compressor;
  if (options.exact_steps != comm::kExactStart || !saved.has(kExactSteps)) return;
  if (saved.text(kCompressor) == compressor) options.exact_steps = saved.integer(kExactSteps);
}

void save_start(StateWriter& shared, const std::string& compressor, const comm::GradientExchange& exchange) {
  shared.text(kCompressor, compressor);
  shared.integer(kExactSteps, exchange.exact_steps());
}

std::string compression_text(const Config& config, const std::string& compressor) {
  const std::size_t rules = config.section("compress").texts("rules").size();
  if (rules == 0) return compressor;
  return compressor + " but for " + std::to_string(rules) + (rules == 1 ? " rule" : " rules");
}

std::vector<std::string> compression_notes(const Config& config, const comm::GradientExchange& exchange,
                                           const SlotLayout& layout) {
  std::vector<std::string> notes = idle_rules(config, layout);
  if (const std::int64_t steps = exchange.exact_steps(); steps > 0)
    notes.push_back(
        "compression: the first " + std::to_string(steps) + " steps are summed exactly" +
        (exchange.momentum() == comm::MomentumKind::refreshed ? ", later ones ever more rarely" : ""));
  const std::string optimizer = config.part_name("optimizer");
  if ((optimizer != "adamw" && optimizer != "lamb") || exchange.momentum() != comm::MomentumKind::none)
    return notes;
  for (const auto& [name, loss] : kBadWithAdam) {
    if (!compresses_with(config, name) || does_without_feedback(config, name)) continue;
    notes.push_back("compression: " + std::string(name) + " fits " + optimizer +
                    " badly: its bursts enter the second moment. With adamw a small GPT lost " + loss +
                    " nats after an exact fifth (docs/compression.md); sign_vote with adamw, or onebit_adam, "
                    "lost none");
  }
  return notes;
}

void check_compression(const Config& config) {
  const std::string optimizer = config.part_name("optimizer");
  if (compresses_with(config, "dgc") && optimizer != "sgd") {
    throw Error(Fault::config,
                "compress.name 'dgc' carries the momentum of SGD, the optimizer is '" + optimizer + "'",
                "set optimizer.name to sgd, or choose another compressor");
  }
  if (compresses_with(config, "onebit_adam") != (optimizer == "onebit_adam")) {
    throw Error(Fault::config, "1-bit Adam is a compressor and an optimizer, only one of them is chosen",
                "set both compress.name and optimizer.name to onebit_adam");
  }
}

}  // namespace lockstep::trainer
