// What every model in the table promises, on a tiny task: it builds; loss and gradients are finite; the
// gradient of the loss, taken in double on the reference backend, is the slope of the loss along random
// directions and along single slots; training and saving repeat exactly; a few steps of descent lower the
// loss.
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/random.h"
#include "core/stream.h"
#include "model_cases.h"
#include "models/executor.h"
#include "models/ops/reference/backend.h"

namespace lockstep::models {
namespace {

/// A model on the reference backend in T, with its arrays, fed with fixed random samples.
template <class T>
class Bench {
 public:
  Bench(std::string_view name, const Case& which)
      : graph_(graph_for(name, which)),
        backend_(make_reference_backend<T>({})),
        executor_(make_executor(graph_, *backend_)),
        stream_(make_stream(Device{})),
        gradients_(size(executor_->parameter_layout())),
        state_(size(executor_->state_layout())),
        statistics_(state_.size()) {
    ParameterStore store(executor_->parameter_layout(), executor_->state_layout(), Device{});
    initialise(graph_, 7, store);
    for (const float value : store.values().as<float>()) values.push_back(value);
    std::ranges::copy(store.state().template as<float>(), state_.begin());
    fill_samples(which.task);
  }

  std::vector<T> values;  ///< laid out as slots()
  [[nodiscard]] std::span<const Slot> slots() const { return executor_->parameter_layout().slots(); }
  [[nodiscard]] std::span<const T> gradients() const { return gradients_; }
  [[nodiscard]] const Graph& graph() const { return graph_; }

  /// Mean loss of one forward pass in training mode.
  double loss() {
    forward();
    const auto rows =
        static_cast<std::size_t>(graph_.values()[static_cast<std::size_t>(graph_.loss())].shape.count());
    std::vector<T> losses(rows);
    executor_->read_losses(losses.data(), *stream_);
    stream_->synchronize();
    double sum = 0;
    for (const T value : losses) sum += static_cast<double>(value);
    return sum / static_cast<double>(rows);
  }
  /// Fills gradients().
  void differentiate() {
    forward();
    executor_->backward(
        pass(), [](int) {}, *stream_);
    stream_->synchronize();
  }
  /// Moves away from the initial point, where zeros would hide mistakes.
  void shake(float size) {
    for (const Slot& slot : slots()) {
      const RandomSource random(3, slot.name, 0);
      for (std::int64_t i = 0; i < slot.stored_count; ++i) {
        values[static_cast<std::size_t>(slot.offset + i)] +=
            size * random.normal(static_cast<std::uint64_t>(i));
      }
    }
  }

 private:
  static Graph graph_for(std::string_view name, const Case& which) {
    const OpSpec loss = loss_for(which.task);
    return build_graph(*make_model(name, which.given), which.task, kMicrobatch, &loss);
  }
  static std::size_t size(const SlotLayout& layout) {
    return static_cast<std::size_t>(layout.stored_count());
  }

  void fill_samples(const Task& task) {
    const RandomSource random(5, "samples", 0);
    const auto inputs = static_cast<std::uint64_t>(kMicrobatch * task.input.count());
    const auto targets = static_cast<std::uint64_t>(kMicrobatch * task.target.count());
    for (std::uint64_t i = 0; i < inputs; ++i) {
      numbers_.push_back(random.normal(i));
      ids_.push_back(static_cast<std::int32_t>(
          random.below(i, static_cast<std::uint64_t>(std::max<std::int64_t>(task.classes, 1)))));
    }
    for (std::uint64_t i = 0; i < targets; ++i) {
      wanted_.push_back(random.normal(inputs + i));
      labels_.push_back(static_cast<std::int32_t>(
          random.below(inputs + i, static_cast<std::uint64_t>(std::max<std::int64_t>(task.classes, 1)))));
    }
    input_ = task.input_dtype == Dtype::i32 ? static_cast<const void*>(ids_.data()) : numbers_.data();
    target_ = task.classes > 0 ? static_cast<const void*>(labels_.data()) : wanted_.data();
  }
  [[nodiscard]] Pass pass() {
    const FlatSpan parameters = flat(std::span(values));
    return {.values = parameters,
            .working = parameters,
            .gradients = flat(std::span(gradients_)),
            .state = flat(std::span(state_)),
            .statistics = flat(std::span(statistics_)),
            .seed = 9};
  }
  void forward() {
    executor_->feed(input_, target_, *stream_);
    executor_->forward(pass(), *stream_);
  }

  Graph graph_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Stream> stream_;
  std::vector<T> gradients_, state_, statistics_;
  std::vector<T> numbers_, wanted_;
  std::vector<std::int32_t> ids_, labels_;
  const void* input_ = nullptr;
  const void* target_ = nullptr;
};

/// Slope of the loss along `direction` by central difference, leaving the values as they were.
double slope(Bench<double>& bench, const std::vector<double>& direction) {
  constexpr double kStep = 1e-6;
  const std::vector<double> at = bench.values;
  const auto loss_at = [&](double step) {
    for (std::size_t i = 0; i < at.size(); ++i) bench.values[i] = at[i] + step * direction[i];
    return bench.loss();
  };
  const double ahead = loss_at(kStep), behind = loss_at(-kStep);
  bench.values = at;
  return (ahead - behind) / (2 * kStep);
}

/// A direction of length 1 within the slots that `wants` picks.
std::vector<double> direction(const Bench<double>& bench, std::uint64_t seed, const auto& wants) {
  std::vector<double> result(bench.values.size());
  double squares = 0;
  for (const Slot& slot : bench.slots()) {
    if (!wants(slot)) continue;
    const RandomSource random(seed, slot.name, 1);
    for (std::int64_t i = 0; i < slot.stored_count; ++i) {
      const double value = random.normal(static_cast<std::uint64_t>(i));
      result[static_cast<std::size_t>(slot.offset + i)] = value;
      squares += value * value;
    }
  }
  for (double& value : result) value /= std::sqrt(squares);
  return result;
}

double along(const Bench<double>& bench, const std::vector<double>& direction) {
  double sum = 0;
  for (std::size_t i = 0; i < direction.size(); ++i) sum += direction[i] * bench.gradients()[i];
  return sum;
}

class EveryModel : public testing::TestWithParam<std::string_view> {};

TEST_P(EveryModel, has_a_case_and_finite_loss_and_gradients) {
  const auto cases = cases_of(GetParam());
  ASSERT_FALSE(cases.empty()) << "add a tiny task for the new model to cases_of()";
  for (const Case& each : cases) {
    Bench<float> bench(GetParam(), each);
    EXPECT_TRUE(std::isfinite(bench.loss()));
    bench.differentiate();
    for (const Slot& slot : bench.slots()) {
      for (std::int64_t i = 0; i < slot.stored_count; ++i) {
        ASSERT_TRUE(std::isfinite(bench.gradients()[static_cast<std::size_t>(slot.offset + i)])) << slot.name;
      }
    }
  }
}

TEST_P(EveryModel, gradient_is_the_slope_of_the_loss) {
  for (const Case& each : cases_of(GetParam())) {
    Bench<double> bench(GetParam(), each);
    bench.shake(0.05f);
    bench.differentiate();
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      const auto whole = direction(bench, seed, [](const Slot&) { return true; });
      const double expected = slope(bench, whole), got = along(bench, whole);
      EXPECT_NEAR(got, expected, 1e-6 + 1e-4 * std::abs(expected)) << GetParam() << " direction " << seed;
    }
    // Single slots: the first ready, the last ready and one between.
    const auto slots = bench.slots();
    for (const std::size_t which : {std::size_t{0}, slots.size() / 2, slots.size() - 1}) {
      const auto one = direction(bench, 4, [&](const Slot& slot) { return &slot == &slots[which]; });
      const double expected = slope(bench, one);
      EXPECT_NEAR(along(bench, one), expected, 1e-6 + 1e-4 * std::abs(expected)) << slots[which].name;
    }
  }
}

TEST_P(EveryModel, a_wrong_gradient_would_be_noticed) {
  const Case each = cases_of(GetParam()).front();
  Bench<double> bench(GetParam(), each);
  bench.shake(0.05f);
  bench.differentiate();
  const auto whole = direction(bench, 0, [](const Slot&) { return true; });
  const double expected = slope(bench, whole);
  EXPECT_GT(std::abs(1.01 * along(bench, whole) - expected), 1e-6 + 1e-4 * std::abs(expected));
}

TEST_P(EveryModel, same_seed_same_bits_and_saved_values_repeat_the_loss) {
  const Case each = cases_of(GetParam()).front();
  Bench<float> first(GetParam(), each), second(GetParam(), each);
  EXPECT_EQ(first.values, second.values);
  const double loss = first.loss();
  EXPECT_EQ(loss, second.loss());

  std::vector<SlotSpec> specs;
  for (const Slot& slot : first.slots()) specs.push_back({slot.name, slot.shape, slot.storage, slot.decays});
  const SlotLayout layout(std::move(specs));
  StateMap saved;
  StateWriter writer(saved);
  save_slots(writer, layout, flat(std::span(first.values)));
  second.shake(0.1f);
  EXPECT_NE(loss, second.loss());
  load_slots(StateReader(saved), layout, flat(std::span(second.values)));
  EXPECT_EQ(first.values, second.values);
  EXPECT_EQ(loss, second.loss());
}

TEST_P(EveryModel, descent_lowers_the_loss) {
  for (const Case& each : cases_of(GetParam())) {
    Bench<float> bench(GetParam(), each);
    bench.shake(0.02f);
    const double before = bench.loss();
    double squares = 0;
    bench.differentiate();
    for (const float gradient : bench.gradients()) squares += static_cast<double>(gradient) * gradient;
    ASSERT_GT(squares, 0);
    const auto rate = static_cast<float>(1e-3 / std::sqrt(squares));
    for (std::size_t i = 0; i < bench.values.size(); ++i) bench.values[i] -= rate * bench.gradients()[i];
    EXPECT_LT(bench.loss(), before) << GetParam();
  }
}

INSTANTIATE_TEST_SUITE_P(Table, EveryModel, testing::ValuesIn(model_names()),
                         [](const auto& row) { return std::string(row.param); });

TEST(UNet, untrained_super_resolution_is_bilinear_interpolation) {
  // A constant field stays constant, whatever the body computes, because the head starts at zero.
  const Case each{{{"channels", "3"}, {"levels", "1"}}, fields({1, 2, 2}, {1, 4, 4})};
  const Graph graph = build_graph(*make_model("unet", each.given), each.task, 1, nullptr);
  const auto backend = make_reference_backend<float>({});
  const auto executor = make_executor(graph, *backend, {.training = false});
  ParameterStore store(executor->parameter_layout(), executor->state_layout(), Device{});
  initialise(graph, 1, store);
  const auto stream = make_stream(Device{});
  const std::vector<float> input{0, 4, 8, 12};
  std::vector<float> prediction(16);
  executor->feed(input.data(), nullptr, *stream);
  Pass pass;
  pass.mode = Mode::evaluate;
  pass.values = pass.working = store.values();
  pass.state = store.state();
  executor->forward(pass, *stream);
  executor->read_prediction(prediction.data(), *stream);
  stream->synchronize();
  EXPECT_EQ(prediction, (std::vector<float>{0, 1, 3, 4, 2, 3, 5, 6, 6, 7, 9, 10, 8, 9, 11, 12}));
}

}  // namespace
}  // namespace lockstep::models
