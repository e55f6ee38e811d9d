#include "trainer/diagnose.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "core/memory.h"

namespace lockstep::trainer {

namespace {

/// Samples named at most, so that the sentence stays readable.
constexpr std::size_t kNamed = 8;

std::string sample_list(const data::Microbatch& batch) {
  std::string list;
  for (std::size_t i = 0; i < batch.indices.size() && i < kNamed; ++i) {
    list += (i == 0 ? "" : ", ") + std::to_string(batch.indices[i]);
  }
  return batch.indices.size() > kNamed ? list + ", ..." : list;
}

/// The first slot, in the order backward completes them, that holds a non-finite number.
std::string first_bad_slot(const ParameterStore& store) {
  for (const Slot& slot : store.layout().slots()) {
    const std::vector<float> gradient = read_slot(slot, store.gradients());
    if (!std::ranges::all_of(gradient, [](float value) { return std::isfinite(value); })) return slot.name;
  }
  return {};
}

/// What is wrong with one microbatch, or empty.
std::string examine(Replica& replica, const data::Microbatch& batch, FlatSpan statistics, Stream& compute) {
  const FlatArray loss_sum = make_array(replica.device(), Dtype::f32, 1);
  models::Pass pass = replica.pass(models::Mode::train, replica.store().values());
  pass.statistics = statistics;
  pass.first_sample = batch.first_position;
  replica.executor().feed(batch.input, batch.target, compute);
  replica.executor().forward(pass, compute);
  replica.executor().add_loss(static_cast<float*>(loss_sum.span.data), compute);
  replica.executor().backward(
      pass, [](int) {}, compute);
  compute.synchronize();
  float loss = 0;
  copy_to_host(loss_sum.span, &loss);
  const std::string slot = first_bad_slot(replica.store());
  if (std::isfinite(loss) && slot.empty()) return {};
  return std::string(std::isfinite(loss) ? "the loss is finite" : "the loss is not finite") +
         (slot.empty() ? "" : ", first bad gradient in slot '" + slot + "'") + ", samples " +
         sample_list(batch);
}

}  // namespace

std::string diagnose_nonfinite(Replica& replica, data::Loader& loader, const BatchPlan& plan,
                               std::int64_t step, comm::Control& control, Stream& compute) {
  const FlatArray statistics = make_array(replica.device(), Dtype::f32, replica.store().state().count);
  loader.seek(step);
  std::string mine;
  for (std::int64_t j = 0; j < plan.shard.count && mine.empty(); ++j) {
    mine = examine(replica, loader.next(), statistics.span, compute);
  }
  std::string all;
  const std::vector<std::string> findings = control.gather(mine);
  for (std::size_t rank = 0; rank < findings.size(); ++rank) {
    if (!findings[rank].empty())
      all += (all.empty() ? "" : "; ") + ("rank " + std::to_string(rank)) + ": " + findings[rank];
  }
  return all.empty() ? "every rank's own gradients are finite: their sum overflowed" : all;
}

Error diverged(std::int64_t step, const std::string& culprit, bool skips) {
  return {Fault::diverged, "step " + std::to_string(step) + " is not finite: " + culprit,
          skips ? "more than train.max_skips steps were skipped: lower the learning rate or clip gradients"
                : "lower the learning rate, clip gradients (train.clip_norm), or set "
                  "train.on_nonfinite=skip; `lockstep data "
                  "info` counts numbers in the data that are none"};
}

void check_replicas_agree(const ParameterStore& store, std::int64_t step, comm::Control& control) {
  const auto own = static_cast<std::int64_t>(store.parameter_hash());
  const std::vector<std::int64_t> hashes = control.gather(own);
  for (std::size_t rank = 0; rank < hashes.size(); ++rank) {
    if (hashes[rank] == hashes[0]) continue;
    throw Error(Fault::communication,
                "rank " + std::to_string(rank) + " holds other parameters (" +
                    hash_text(static_cast<std::uint64_t>(hashes[rank])) + ") than rank 0 (" +
                    hash_text(static_cast<std::uint64_t>(hashes[0])) + ") at step " + std::to_string(step),
                "all ranks must run the same program on the same kind of processor and read the same files");
  }
}

}  // namespace lockstep::trainer
