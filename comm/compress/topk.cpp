// Sparse compressors with error feedback (Stich et al. 2018): each slot sends its k = density * elements
// largest values; the rest waits in the residual. What is sent is copied, so sent + residual = p to the bit.
//
// topk: every rank picks for itself and tells all which values and what they are: (p - 1) (4 k + i) bytes, so
// it pays for few ranks and small densities. Of n elements i = min(4 k, n / 8): indices, or a bitmap where
// that is shorter. shared_topk (CLT-k of ScaleCom, Chen et al. 2020): rank (step mod p) picks and broadcasts
// which, i bytes; all send these k values through the all-reduce: bytes do not grow with p. random_k: indices
// drawn from a shared seed, one from each of k equal stretches; none are sent. With Adam it has no feedback
// by default: what waits comes in bursts, which enter the second moment, and unbiased values of half the
// elements lost less (docs/compression.md).
#include <algorithm>
#include <cmath>

#include "comm/compress/rows.h"
#include "comm/compress/sparse.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

constexpr Setting density(const char* fallback) {
  return {"density", SettingType::real, fallback, "part of a slot's elements that is sent", "(0,1]"};
}
constexpr Setting kFeedback = {"feedback", SettingType::boolean, "true",
                               "error feedback: keep what was not sent for the next step"};
constexpr Setting kTopK[] = {density("0.1"), kFeedback};
constexpr Setting kSharedTopK[] = {
    density("0.4"),
    kFeedback,
    {"filter", SettingType::real, "1",
     "share of the new rest that enters the residual; below 1 it filters noise of large batches", "(0,1]"}};
constexpr Setting kRandomK[] = {
    density("0.5"),
    kFeedback,
    {"adam_feedback", SettingType::boolean, "false",
     "error feedback with optimizer adamw too; false: there what is sent stands for all (1/density)"}};

bool keeps_rest(const Options& options, const CompressorContext& context) {
  const bool adam = context.momentum_kind == MomentumKind::average;
  return options.boolean("feedback") && (!adam || options.boolean("adam_feedback"));
}

class TopK final : public Compressor {
 public:
  TopK(const Options& options, const CompressorContext& context)
      : Compressor(context, options.boolean("feedback")),
        message_(context, selections(context.group, options.real("density"))) {}

  std::int64_t stated_bytes(const Schedule& /*schedule*/, std::int64_t /*step*/) const override {
    return message_.stated_bytes(message_.capacity());
  }
  Start start() const noexcept override { return Start::exact; }

 private:
  void average(const Turn& turn) override {
    message_.select(turn.values, turn.stream);
    kernels().clear_at(turn.values, message_.indices(), turn.stream);
    mark(Phase::encode, turn.stream);
    message_.gather(turn.collectives, turn.stream);
    mark(Phase::wire, turn.stream);
    message_.add_all(turn.mean, 1.0f / static_cast<float>(context().ranks), turn.stream);
  }

  SparseMessage message_;
};

/// Values at indices that all ranks know: an all-reduce of k numbers.
class SharedIndices : public Compressor {
 public:
  SharedIndices(const Options& options, const CompressorContext& context, bool feedback)
      : Compressor(context, feedback),
        runs_(make_runs(selections(context.group, options.real("density")))),
        picked_(floats(kept(runs_->list))) {}

  Start start() const noexcept override { return Start::exact; }

 protected:
  [[nodiscard]] const Runs& runs() const { return runs_; }
  [[nodiscard]] std::int64_t picked() const { return picked_.span.count; }
  [[nodiscard]] std::int64_t sum_bytes(const Schedule& schedule) const {
    return schedule.stated_cost(context().rank, context().ranks, picked_.span.count).elements * 4;
  }
  /// Sums what the values hold at the indices.
  void sum_picked(const Turn& turn, FlatSpan indices, float factor) {
    kernels().pick(turn.values, indices, picked_.span, turn.stream);
    kernels().clear_at(turn.values, indices, turn.stream);
    mark(Phase::encode, turn.stream);
    turn.collectives.sum(picked_.span, turn.stream, group().bucket);
    mark(Phase::wire, turn.stream);
    vector::fill(turn.mean, 0, turn.stream);
    kernels().add_at(picked_.span, indices, turn.mean, factor / static_cast<float>(context().ranks),
                     turn.stream);
  }

 private:
  Runs runs_;
  FlatArray picked_;
};

class SharedTopK final : public SharedIndices {
 public:
  SharedTopK(const Options& options, const CompressorContext& context)
      : SharedIndices(options, context, options.boolean("feedback")),
        filter_(static_cast<float>(options.real("filter"))),
        part_(context, runs()),
        words_(make_array(context.device, Dtype::i32, part_.words())) {}

  std::int64_t stated_bytes(const Schedule& schedule, std::int64_t step) const override {
    return sum_bytes(schedule) +
           broadcast_plan(context().rank, context().ranks, leader(step), part_.words()).cost().elements * 4;
  }
  bool conserves() const noexcept override { return feedback() && filter_ == 1; }

 private:
  [[nodiscard]] int leader(std::int64_t step) const { return static_cast<int>(step % context().ranks); }
  void average(const Turn& turn) override {
    const int root = leader(turn.numbers.step);
    const bool leads = root == context().rank;
    if (leads) part_.select(turn.values, words_.span, turn.stream);
    mark(Phase::encode, turn.stream);
    turn.collectives.broadcast(words_.span, root, turn.stream);
    mark(Phase::wire, turn.stream);
    if (!leads) part_.read(words_.span, turn.stream);
    sum_picked(turn, part_.indices(words_.span), 1);
    if (filter_ == 1 || !feedback()) return;
    // residual' = residual + filter * (rest - residual)
    vector::scale(filter_, turn.values, turn.stream);
    vector::axpy(1 - filter_, residual_before(), turn.values, turn.stream);
  }

  float filter_;
  IndexPart part_;
  FlatArray words_;  ///< i32: what the leader sends
};

class RandomK final : public SharedIndices {
 public:
  RandomK(const Options& options, const CompressorContext& context)
      : SharedIndices(options, context, keeps_rest(options, context)),
        indices_(make_array(context.device, Dtype::i32, picked())) {}

  std::int64_t stated_bytes(const Schedule& schedule, std::int64_t /*step*/) const override {
    return sum_bytes(schedule);
  }

 private:
  void average(const Turn& turn) override {
    kernels().draw(runs(), key(turn, "random k"), indices_.span, turn.stream);
    // Without error feedback what is sent must stand for all: then it is right in the mean.
    const float stands_for = static_cast<float>(group().count) / static_cast<float>(picked());
    sum_picked(turn, indices_.span, feedback() ? 1.0f : stands_for);
  }

  FlatArray indices_;
};

template <class Part>
std::unique_ptr<Compressor> make(const Options& options, const CompressorContext& context) {
  return std::make_unique<Part>(options, context);
}

}  // namespace

const CompressorRegistry::Row kTopKRow{"topk", "each rank's largest values with their indices", kTopK,
                                       make<TopK>};
const CompressorRegistry::Row kSharedTopKRow{
    "shared_topk", "values at one rank's largest (ScaleCom): bytes do not grow with ranks", kSharedTopK,
    make<SharedTopK>};
const CompressorRegistry::Row kRandomKRow{"random_k", "values at shared random indices", kRandomK,
                                          make<RandomK>};

}  // namespace lockstep::comm
