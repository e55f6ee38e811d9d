// One rank's compressed exchange with arrays, streams and a second set of collectives to compare ranks with;
// and what every compressor promises, as checks that run on each rank of any world.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/compress/compressor.h"
#include "comm/exchange.h"
#include "comm/transport.h"
#include "core/memory.h"

namespace lockstep::comm::compress {

/// Compressors of the table that can be chosen by name.
[[nodiscard]] std::vector<std::string> names();
/// Default settings of a compressor, but for PowerSGD's rank; feedback switched as asked where it can be.
[[nodiscard]] Options settings_of(std::string_view name, bool feedback);
[[nodiscard]] bool has_feedback(std::string_view name);
/// Two matrices, a prime one, and two slots too small to be compressed.
[[nodiscard]] SlotLayout rig_layout();

/// Where gradients lie, what carries them (collectives that rigs use in turn, or null for new ones), and what
/// the training is around them.
struct Place {
  Device device = {};
  std::shared_ptr<Collectives> collectives = nullptr;
  MomentumKind momentum_kind = MomentumKind::none;
  std::int64_t exact_steps = 0;
  std::string schedule = "ring";  ///< that they sum by
};
/// Collective. What a rig uses: a schedule over the transport.
[[nodiscard]] std::shared_ptr<Collectives> rig_collectives(World& world, Device device,
                                                           const std::string& transport = "auto",
                                                           const std::string& schedule = "ring");

struct RigOptions {
  bool feedback = true;  ///< where it can be chosen
  std::vector<std::string> rules = {};
  Place place = {};
  std::int64_t sample_every = 0;
};

class Rig {
 public:
  Rig(World& world, const std::string& name, const RigOptions& options = {});

  /// One step over integers |g| < 4096 of (rank, step); `poison` puts a NaN among this rank's.
  void step(std::int64_t step, float rate, bool poison = false);
  /// What the last step left.
  [[nodiscard]] std::span<const float> sums() const { return sums_; }
  [[nodiscard]] std::int64_t sent_bytes() const { return sent_bytes_; }
  /// Of the last step.
  [[nodiscard]] ExchangeReport report() const { return exchange_->report(); }
  /// Rank r's gradient in `step`, whole flat array.
  [[nodiscard]] std::vector<float> gradient(int rank, std::int64_t step) const;
  [[nodiscard]] StateMap state() const;
  /// Everyone's standing residuals: sum over ranks of share * residual + owner residual, by element of the
  /// flat array. Collective.
  [[nodiscard]] std::vector<double> debt();
  [[nodiscard]] GradientExchange& exchange() { return *exchange_; }
  [[nodiscard]] Control& control() { return *control_; }
  [[nodiscard]] const SlotLayout& layout() const { return layout_; }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int ranks() const { return ranks_; }

 private:
  int rank_, ranks_;
  SlotLayout layout_;
  FlatArray gradients_, skip_;
  std::vector<float> sums_;
  std::int64_t sent_bytes_ = 0;
  std::shared_ptr<Collectives> collectives_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<Stream> compute_;
  std::unique_ptr<GradientExchange> exchange_;
};

/// What error feedback left in `maps` (one per rank): mean residual + owners' residuals.
[[nodiscard]] std::vector<double> debt_of(const StateMap& map, const SlotLayout& layout, double share);

/// x - debt = x0 - sum of rate * mean gradient, for any rates: exactly where `exact`, else to rounding.
/// Collective.
void virtual_iterate(World& world, const std::string& name, bool exact, const Place& place = {});
/// All ranks hold the same bits, and have sent what is stated.
void same_bits_and_stated_bytes(World& world, const std::string& name, bool feedback,
                                const Place& place = {});
/// A step with rate 0 sends nothing compressed and changes nothing.
void rate_zero_is_silent(World& world, const std::string& name, const Place& place = {});
/// A step that is not finite on one rank leaves no trace on any.
void nonfinite_leaves_no_trace(World& world, const std::string& name, const Place& place = {});
/// Saved and loaded into a new exchange, the run goes on bit for bit.
void resumes_exactly(World& world, const std::string& name, bool feedback, const Place& place = {});

}  // namespace lockstep::comm::compress
