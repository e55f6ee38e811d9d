// Losses and their gradients against the formulas of their definitions, written out anew in double, on every
// backend: label smoothing, ignored labels, padded rows, squared and smooth absolute errors.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/random.h"
#include "core/stream.h"
#include "models/executor.h"

namespace lockstep::models {
namespace {

/// Row losses, their mean, and the gradient of the mean with respect to the prediction.
struct Losses {
  std::vector<float> rows, gradient;
  float mean = 0;
};

/// Runs a loss on any prediction: one-hot rows times a weight matrix give it, and its gradient is the
/// weight's.
class OnBackend : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    try {
      backend_ = make_backend(GetParam(), {});
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }

  /// `prediction` is of [rows, width]; `counted` is Pass::rows.
  template <class Target>
  Losses run(const OpSpec& loss, std::int64_t rows, const std::vector<float>& prediction,
             const std::vector<Target>& target, std::int64_t counted = -1) {
    const auto width = static_cast<std::int64_t>(prediction.size()) / rows;
    GraphBuilder builder(rows);
    builder.predict(builder.linear(builder.input({rows}, Dtype::f32), "table",
                                   {.out_features = width, .bias = false}, {}));
    builder.loss(loss);
    const Graph graph = std::move(builder).finish();
    const auto executor = make_executor(graph, *backend_);
    ParameterStore store(executor->parameter_layout(), executor->state_layout(), Device{});
    store.write("table.weight", transposed(prediction, rows, width));
    std::vector<float> one_hot(static_cast<std::size_t>(rows * rows));
    for (std::int64_t row = 0; row < rows; ++row) one_hot[static_cast<std::size_t>(row * rows + row)] = 1;
    Losses result{std::vector<float>(static_cast<std::size_t>(rows)), {}};
    const auto stream = make_stream(Device{});
    const Pass pass{
        .values = store.values(), .working = store.values(), .gradients = store.gradients(), .rows = counted};
    executor->feed(one_hot.data(), target.data(), *stream);
    executor->forward(pass, *stream);
    executor->read_losses(result.rows.data(), *stream);
    executor->add_loss(&result.mean, *stream);
    executor->backward(pass, {}, *stream);
    stream->synchronize();
    result.gradient = transposed(read_slot(store.layout().slots()[0], store.gradients()), width, rows);
    return result;
  }

 private:
  static std::vector<float> transposed(const std::vector<float>& values, std::int64_t rows,
                                       std::int64_t cols) {
    std::vector<float> result(values.size());
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t col = 0; col < cols; ++col)
        result[static_cast<std::size_t>(col * rows + row)] =
            values[static_cast<std::size_t>(row * cols + col)];
    }
    return result;
  }
  std::unique_ptr<Backend> backend_;
};
INSTANTIATE_TEST_SUITE_P(Backends, OnBackend, testing::Values("reference", "cpu"),
                         [](const auto& each) { return std::string(each.param); });

std::vector<float> scores(std::size_t count, float size = 2) {
  const RandomSource random(8, "scores", 0);
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = size * random.normal(i);
  return values;
}

void expect_near(const std::vector<float>& got, const std::vector<double>& wanted, double tolerance = 2e-6) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], wanted[i], tolerance * (1 + std::abs(wanted[i]))) << i;
}

/// Softmax of one row.
std::vector<double> softmax(const float* row, std::size_t classes) {
  std::vector<double> odds(classes);
  for (std::size_t k = 0; k < classes; ++k) odds[k] = std::exp(static_cast<double>(row[k]));
  const double sum = std::accumulate(odds.begin(), odds.end(), 0.0);
  for (double& each : odds) each /= sum;
  return odds;
}

TEST_P(OnBackend, cross_entropy_with_smoothing_follows_its_definition) {
  constexpr std::size_t kRows = 3, kClasses = 7;
  const auto x = scores(kRows * kClasses);
  const std::vector<std::int32_t> labels{6, 0, 3};
  for (const float smoothing : {0.0f, 0.1f, 0.75f}) {
    const Losses got = run(SoftmaxCrossEntropy{.label_smoothing = smoothing}, kRows, x, labels);
    std::vector<double> rows(kRows), gradient(x.size());
    for (std::size_t row = 0; row < kRows; ++row) {
      const auto p = softmax(&x[row * kClasses], kClasses);
      for (std::size_t k = 0; k < kClasses; ++k) {
        const bool hit = static_cast<std::size_t>(labels[row]) == k;
        const double q =
            (hit ? 1 - static_cast<double>(smoothing) : 0) + static_cast<double>(smoothing) / kClasses;
        rows[row] -= q * std::log(p[k]);
        gradient[row * kClasses + k] = (p[k] - q) / kRows;
      }
    }
    expect_near(got.rows, rows);
    expect_near(got.gradient, gradient);
    EXPECT_NEAR(got.mean, (rows[0] + rows[1] + rows[2]) / 3, 1e-6);
  }
}

TEST_P(OnBackend, ignored_and_padded_rows_leave_mean_and_gradient_to_the_others) {
  constexpr std::size_t kRows = 4, kClasses = 5;
  const auto x = scores(kRows * kClasses);
  const SoftmaxCrossEntropy loss{.ignore_index = 2};
  const Losses got =
      run(loss, kRows, x, std::vector<std::int32_t>{1, 2, 4, 0}, 3);  // row 1 ignored, row 3 padded
  EXPECT_EQ(got.rows[1], kIgnoredRow);
  EXPECT_EQ(got.rows[3], kIgnoredRow);
  EXPECT_NEAR(got.mean, (got.rows[0] + got.rows[2]) / 2, 1e-6);
  std::vector<double> gradient(x.size());
  for (const auto& [row, label] : {std::pair{0u, 1u}, std::pair{2u, 4u}}) {
    const auto p = softmax(&x[row * kClasses], kClasses);
    for (std::size_t k = 0; k < kClasses; ++k)
      gradient[row * kClasses + k] = (p[k] - (k == label ? 1 : 0)) / 2;
  }
  expect_near(got.gradient, gradient);
}

TEST_P(OnBackend, all_rows_ignored_give_a_loss_and_a_gradient_of_zero) {
  const Losses got = run(SoftmaxCrossEntropy{}, 2, scores(6), std::vector<std::int32_t>{-100, -100});
  EXPECT_EQ(got.mean, 0);
  EXPECT_EQ(got.gradient, std::vector<float>(6, 0.0f));
}

TEST_P(OnBackend, large_scores_neither_overflow_nor_lose_the_loss) {
  const Losses got = run(SoftmaxCrossEntropy{}, 2, std::vector<float>{200, -200, 0, 1e4f, 1e4f, -1e4f},
                         std::vector<std::int32_t>{1, 0});
  expect_near(got.rows, {400, std::log(2.0)}, 1e-6);
  expect_near(got.gradient, {0.5, -0.5, 0, -0.25, 0.25, 0}, 1e-6);
}

TEST_P(OnBackend, squared_error_is_the_mean_over_a_samples_elements) {
  constexpr std::size_t kRows = 3, kWidth = 5;
  const auto x = scores(kRows * kWidth), y = scores(kRows * kWidth, -1);
  for (const std::int64_t counted : {-1, 2}) {
    const std::size_t rows = counted < 0 ? kRows : 2;
    const Losses got = run(MeanSquaredError{}, kRows, x, y, counted);
    std::vector<double> losses(kRows, -1), gradient(x.size());
    for (std::size_t row = 0; row < rows; ++row) losses[row] = 0;
    for (std::size_t i = 0; i < rows * kWidth; ++i) {
      const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
      losses[i / kWidth] += d * d / kWidth;
      gradient[i] = 2 * d / static_cast<double>(kWidth * rows);
    }
    expect_near(got.rows, losses);
    expect_near(got.gradient, gradient);
  }
}

TEST_P(OnBackend, smooth_absolute_error_is_square_inside_beta_and_linear_outside) {
  const std::vector<float> x{0.5f, -0.5f, 2, -2, 3, 0}, y(6, 0.0f);
  for (const float beta : {1.0f, 2.0f}) {
    const Losses got = run(SmoothL1{beta}, 1, x, y);
    double loss = 0;
    std::vector<double> gradient;
    for (const float each : x) {
      const double d = std::abs(static_cast<double>(each)), b = static_cast<double>(beta);
      loss += (d < b ? d * d / (2 * b) : d - b / 2) / 6;
      gradient.push_back(
          (d < b ? static_cast<double>(each) / b : std::copysign(1.0, static_cast<double>(each))) / 6);
    }
    EXPECT_NEAR(got.rows[0], loss, 1e-6) << beta;
    expect_near(got.gradient, gradient, 1e-6);
  }
}

TEST_P(OnBackend, smooth_absolute_error_with_tiny_beta_is_the_absolute_error) {
  const Losses got = run(SmoothL1{1e-6f}, 1, std::vector<float>{3, -4}, std::vector<float>{1, 1});
  EXPECT_NEAR(got.rows[0], 3.5, 1e-5);
  expect_near(got.gradient, {0.5, -0.5}, 1e-6);
}

TEST_P(OnBackend, a_number_that_is_none_reaches_the_loss_where_the_trainer_looks_for_it) {
  for (const OpSpec& loss : {OpSpec(MeanSquaredError{}), OpSpec(SmoothL1{})}) {
    const Losses got = run(loss, 2, std::vector<float>{0, 1, 0, NAN}, std::vector<float>(4, 0.0f));
    EXPECT_TRUE(std::isnan(got.mean)) << op_name(loss);
  }
  const Losses got =
      run(SoftmaxCrossEntropy{}, 2, std::vector<float>{0, 1, NAN, 0}, std::vector<std::int32_t>{0, 1});
  EXPECT_TRUE(std::isnan(got.mean));
}

}  // namespace
}  // namespace lockstep::models
