// Every model on the GPU: loss and all gradients against the reference backend in f32, the direction of the
// gradients in 16 bits, and hashes that do not know the backend.
#include "gpu.h"
#include "train_once.h"

namespace lockstep::models {
namespace {

class EveryModelOnGpu : public ::testing::TestWithParam<std::string_view> {};

TEST_P(EveryModelOnGpu, agrees_with_the_reference) {
  LOCKSTEP_NEEDS_GPU();
  for (const Case& each : cases_of(GetParam())) {
    const Outcome expected = train_once({.backend = "reference"}, GetParam(), each);
    const Outcome got = train_once({.backend = "cuda"}, GetParam(), each);
    expect_same_training(got, expected);
    EXPECT_EQ(got.parameter_hash, expected.parameter_hash) << "hashes are over the canonical form";
    EXPECT_EQ(got.state_hash, expected.state_hash);
  }
}

TEST_P(EveryModelOnGpu, in_16_bits_points_where_f32_points) {
  LOCKSTEP_NEEDS_GPU();
  for (const Case& each : cases_of(GetParam())) {
    const Outcome wide = train_once({.backend = "cuda"}, GetParam(), each);
    for (const Dtype compute : {Dtype::bf16, Dtype::f16})
      expect_same_direction(train_once({.backend = "cuda", .compute = compute}, GetParam(), each), wide);
  }
}

TEST_P(EveryModelOnGpu, keeps_gradients_in_bf16_to_its_rounding) {
  LOCKSTEP_NEEDS_GPU();
  for (const Case& each : cases_of(GetParam())) {
    const How how{.backend = "cuda", .compute = Dtype::bf16};
    const Outcome wide = train_once(how, GetParam(), each);
    const Outcome narrow =
        train_once({.backend = "cuda", .compute = Dtype::bf16, .gradients = Dtype::bf16}, GetParam(), each);
    expect_rounded_gradients(narrow, wide);
  }
}

INSTANTIATE_TEST_SUITE_P(Table, EveryModelOnGpu, ::testing::ValuesIn(model_names()),
                         [](const auto& row) { return std::string(row.param); });

}  // namespace
}  // namespace lockstep::models
