// Lossy averaging of gradients, with error feedback written once (Seide et al. 2014; Stich et al. 2018;
// Karimireddy et al. 2019). The learning rate lies inside: on rank i
//
//   p = rate * g_i + residual_i;   sent = decode(encode(p));   residual_i' = p - sent,
//
// and parameters move by the mean of what was sent. So for plain descent, whatever the compressor and the
// rates, x - mean(residual) - owner residual = x0 - sum of rate * mean gradient. Gradients go back to the
// optimizer as mean / rate. A step with rate 0 sends nothing. A step that is not accepted (its sum was not
// finite) leaves no trace: state is kept twice until the step is settled.
//
// Words: piece (one slot's place in the packed array), group (the pieces of a bucket that one compressor
// sends together), payload (what goes on the wire), residual (what error feedback keeps), owner (the rank
// that sums a chunk).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "comm/collectives.h"
#include "comm/compress/kernels.h"
#include "comm/compress/options.h"
#include "comm/compress/phases.h"
#include "comm/compress/remembered.h"
#include "core/parameters.h"
#include "core/refresh.h"
#include "core/registry.h"

namespace lockstep::comm {

/// One slot's elements in the packed array. Pieces start at multiples of kSlotAlignment; gaps are zero.
struct Piece {
  const Slot* slot = nullptr;
  std::int64_t first = 0;
  std::vector<std::int64_t> padding;  ///< places of the stored slot that hold no element: always zero
};

/// What one compressor sends of one bucket.
struct Group {
  int bucket = 0;
  std::vector<Piece> pieces;
  std::int64_t count = 0;  ///< of the packed array
};

/// Packs `slots` one behind the other.
[[nodiscard]] Group make_group(int bucket, const std::vector<const Slot*>& slots);

/// What a compressor is made for.
struct CompressorContext {
  Group group;
  int rank = 0;
  int ranks = 1;
  Device device = {};
  std::uint64_t seed = 0;
  MomentumKind momentum_kind = MomentumKind::none;  ///< this and the next two: see CompressionOptions
  float momentum = 0;
  bool nesterov = false;
  Remembered::Verdict verdict;     ///< whether the last step was accepted
  MappedMemory* mapped = nullptr;  ///< what payloads may be written through; outlives the compressor
};

/// What the first steps of a training are: at_once: compressed. exact: summed exactly for a while, unless
/// the user says otherwise, because what is withheld or outvoted is missing most while weights move fast.
/// measured: as exact, but at least one step, for what is measured in them later steps divide by. own:
/// whatever the compressor makes of them.
enum class Start { at_once, exact, measured, own };

class Compressor {
 public:
  Compressor(const CompressorContext& context, bool feedback);
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
  virtual ~Compressor() = default;

  /// Collective, enqueues. Replaces the group's slots in `gradients` (the whole flat array: each rank's own
  /// sum) by approximately their sum over ranks, the same bits on every rank. Adds to *nonfinite (one i64 on
  /// the device) the elements that were not finite: then zeros are sent and the caller must not accept the
  /// step on any rank. `scratch` holds at least 2 * group().count f32 that nobody else uses meanwhile.
  void exchange(FlatSpan gradients, FlatSpan scratch, const StepNumbers& numbers, FlatSpan nonfinite,
                Collectives& collectives, Stream& stream);

  [[nodiscard]] const Group& group() const noexcept { return context_.group; }
  [[nodiscard]] bool feedback() const noexcept { return feedback_; }
  /// Whether value = sent + residual, to rounding: then nothing is lost, only late.
  [[nodiscard]] virtual bool conserves() const noexcept { return feedback_; }
  /// Whether what comes back has momentum in it. Slots that are summed exactly then get the same.
  [[nodiscard]] virtual MomentumKind momentum() const noexcept { return MomentumKind::none; }
  /// Whether every exchange enqueues the same, whatever the step's numbers: it may be recorded.
  [[nodiscard]] virtual bool plain() const noexcept { return false; }
  [[nodiscard]] virtual Start start() const noexcept { return Start::at_once; }
  /// Before the first exchange: how many first steps are exact. Only compressors with momentum take part in
  /// them.
  void begin_with(std::int64_t exact_steps) noexcept { exact_steps_ = exact_steps; }
  /// Bytes this rank sends in a step, by closed formula; sums cost what `schedule` states.
  [[nodiscard]] virtual std::int64_t stated_bytes(const Schedule& schedule, std::int64_t step) const = 0;

  /// Of the last exchange, see PhaseClock; on a GPU only where asked for.
  [[nodiscard]] PhaseTimes times() { return clock_.times(); }
  void take_times(bool on_gpus) noexcept { clock_.take(on_gpus); }
  /// The residual that stands (f32, packed); empty without error feedback. No stream may be using it.
  [[nodiscard]] FlatSpan residual() const noexcept;
  /// What the last exchange left as residual, accepted or not; read it in stream order.
  [[nodiscard]] FlatSpan latest_residual() const noexcept { return residual_.current(); }
  /// The owner's residual of its chunk, in units of the mean; and where the chunk begins. May be empty.
  [[nodiscard]] virtual FlatSpan owner_residual() const noexcept { return {}; }
  [[nodiscard]] virtual std::int64_t owner_first() const noexcept { return 0; }

  /// Blocking; no stream may be using the compressor. Residuals by slot in canonical form, under the slot's
  /// name; the rest under names of its own.
  void save(StateWriter& writer) const;
  void load(const StateReader& reader);
  /// Adds what a rank of another world kept, `share` of it (1 / its ranks): afterwards every rank holds the
  /// mean residual, with the owners' part in it, so the law above goes on. Call for each old rank in order.
  void carry(const StateReader& reader, float share);

 protected:
  /// What a step is to the parts of an exchange.
  struct Turn {
    StepNumbers numbers;
    FlatSpan values;  ///< in: p (packed). out: p - sent, when there is error feedback
    FlatSpan mean;    ///< out: the mean over ranks of what was sent
    Collectives& collectives;
    Stream& stream;
  };
  /// Gradients are multiplied by `in` before they are averaged, the mean by `out`.
  struct Units {
    float in = 1;
    float out = 1;
  };

  [[nodiscard]] const CompressorContext& context() const noexcept { return context_; }
  [[nodiscard]] bool is_exact(std::int64_t step) const noexcept {
    return step < exact_steps_ || (momentum() == MomentumKind::refreshed && refreshes(step - exact_steps_));
  }
  [[nodiscard]] const Kernels& kernels() const noexcept { return kernels_; }
  /// Everything enqueued since the last mark belongs to `phase`.
  void mark(Phase phase, Stream& stream) { clock_.mark(phase, stream); }
  /// The residual as it stood before the step.
  [[nodiscard]] FlatSpan residual_before() const noexcept { return residual_.settled(); }
  /// A key for random rounding: the same only for equal seed, step, bucket and purpose.
  [[nodiscard]] std::uint32_t key(const Turn& turn, std::string_view purpose, int rank = 0) const;
  /// The places (i32) of the packed array that are no element of a slot: what is kept there must be zero.
  [[nodiscard]] FlatSpan voids() const noexcept { return voids_.span; }
  /// The places of a part of the packed array, counted from its begin, that are no element of a slot.
  [[nodiscard]] FlatArray voids_in(Range part) const;
  [[nodiscard]] FlatArray bytes(std::int64_t count) const;
  [[nodiscard]] FlatArray floats(std::int64_t count) const;

  /// The rate inside with error feedback, else the gradients as they are.
  [[nodiscard]] virtual Units units(const StepNumbers& numbers) const;
  /// Saves a packed array by slot, and adds share * what was saved.
  void save_pieces(StateWriter writer, FlatSpan packed) const;
  void load_pieces(const StateReader& reader, Remembered& state, float share) const;
  /// The mean of the values as it is; nothing is left of them. What it sends. Collective, enqueues.
  void average_exactly(const Turn& turn);
  [[nodiscard]] std::int64_t exact_bytes(const Schedule& schedule) const;
  /// The mean of the group's values, see Turn. Collective, enqueues.
  virtual void average(const Turn& turn) = 0;
  /// Without error feedback: the group's part of `gradients` becomes ranks * the mean as it is, unpacked.
  /// Collective, enqueues. False, on every rank: average() is needed, and nothing was enqueued.
  virtual bool average_in_place(FlatSpan /*gradients*/, FlatSpan /*nonfinite*/, Stream& /*stream*/) {
    return false;
  }
  /// State besides the residual. The reader's scope may lack it (another compressor wrote it): start anew.
  virtual void save_more(StateWriter& /*writer*/) const {}
  virtual void load_more(const StateReader& /*reader*/) {}
  virtual void carry_more(const StateReader& /*reader*/, float /*share*/) {}
  /// Writes both copies of owner_residual().
  virtual void restore_owner(std::span<const float> /*values*/) {}
  /// Before a step: state that the last step changed is kept or given back.
  virtual void settle_more(Stream& /*stream*/) {}

 private:
  void pack(FlatSpan gradients, FlatSpan values, float factor, FlatSpan nonfinite, Stream& stream);
  void unpack(FlatSpan mean, FlatSpan gradients, float factor, Stream& stream);
  void save_owner(StateWriter& writer) const;

  CompressorContext context_;
  const Kernels& kernels_;
  bool feedback_;
  std::int64_t exact_steps_ = 0;
  Remembered residual_;
  FlatArray voids_;  ///< i32 places of the packed array that are no element of a slot
  PhaseClock clock_;
};

/// The table of compressors; the config kind is `compress`.
using CompressorRegistry = Registry<Compressor, const CompressorContext&>;
[[nodiscard]] const CompressorRegistry& compressors();

}  // namespace lockstep::comm
