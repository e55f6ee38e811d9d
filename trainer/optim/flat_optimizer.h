// What every optimizer here shares: momenta as flat arrays and the updater of its device, save and load. An
// optimizer is then its settings and the rule that they make.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/memory.h"
#include "trainer/optim/optimizer.h"
#include "trainer/optim/updater.h"

namespace lockstep::trainer {

class FlatOptimizer : public Optimizer {
 public:
  /// `memories` names the arrays it remembers, at most two: {"momentum"} or {"first", "second"}.
  FlatOptimizer(const SlotLayout& layout, Device device, std::vector<std::string> memories);

  void own(const Part& part) final;
  void take_momentum(std::int64_t after, bool refreshed) override;
  void step(FlatSpan values, FlatSpan gradients, const StepScalars* scalars, Stream& stream,
            FlatSpan working) final;
  [[nodiscard]] int state_bytes_per_parameter() const noexcept final;
  void save(StateWriter& writer) const final;
  void load(const StateReader& reader) final;

 protected:
  /// Hands the rule to the updater.
  virtual void update(Updater& updater, const UpdateArrays& arrays, const StepScalars* scalars,
                      Stream& stream) = 0;

 private:
  const SlotLayout& whole_;
  Part part_;
  SlotLayout layout_;  ///< of the part
  Device device_;
  std::unique_ptr<Updater> updater_;
  std::vector<std::string> names_;
  std::vector<FlatArray> memories_;
};

}  // namespace lockstep::trainer
