// Perplexity: exp of the mean loss per token.
#include <cmath>

#include "trainer/metric/rows.h"

namespace lockstep::trainer {

namespace {

class Perplexity final : public Metric {
 public:
  [[nodiscard]] std::string_view lacks(const Judged& samples) const noexcept override {
    return samples.classes > 0 ? "" : "classes";
  }
  void add(const Evaluated& batch) override { losses_.add(batch); }
  [[nodiscard]] std::vector<double> sums() const override { return {losses_.sum(), losses_.count()}; }
  [[nodiscard]] std::vector<std::pair<std::string, double>> finish(
      std::span<const double> sums) const override {
    const double loss = sums[0] / sums[1];
    return {{"loss", loss}, {"perplexity", std::exp(loss)}, {"tokens", sums[1]}};
  }
  [[nodiscard]] bool larger_is_better() const noexcept override { return false; }
  [[nodiscard]] bool wants_prediction() const noexcept override { return false; }

 private:
  LossSums losses_;
};

}  // namespace

const Registry<Metric>::Row kPerplexity{
    "perplexity",
    "mean loss per token and its exponential",
    {},
    [](const Options&) -> std::unique_ptr<Metric> { return std::make_unique<Perplexity>(); }};

}  // namespace lockstep::trainer
