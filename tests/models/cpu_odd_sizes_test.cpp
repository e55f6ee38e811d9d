// The CPU backend at sizes that no library likes: one sample, one pixel, primes, channels between two blocks
// of 8 or 16, groups, dilation, strides that leave a rest. Judged by the reference in double, in f32 and,
// where the CPU can, in bf16.
#include <gtest/gtest.h>

#include "core/error.h"
#include "needs_cpu_backend.h"
#include "twin.h"

namespace lockstep::models::testing {
namespace {

struct Case {
  std::string name;
  BuildGraph build;
  std::int64_t microbatch;
  double bf16_tolerance = 0.06;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::string text(const Shape& shape) {
  std::string name;
  for (const std::int64_t extent : shape.extents())
    name += (name.empty() ? "" : "x") + std::to_string(extent);
  return name;
}

Case on_image(const std::string& name, const Shape& sample, std::int64_t microbatch,
              const std::function<int(GraphBuilder&, int)>& add, double bf16_tolerance = 0.06) {
  const auto build = [=](GraphBuilder& b) {
    b.predict(add(b, image_behind_parameters(b, sample)));
    b.loss(MeanSquaredError{});
  };
  return {name + "_" + text(sample) + "_n" + std::to_string(microbatch), build, microbatch, bf16_tolerance};
}

std::vector<Case> convolutions() {
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, const Shape& sample, std::int64_t microbatch,
                       const Conv2d& spec) {
    cases.push_back(on_image(name, sample, microbatch,
                             [=](GraphBuilder& b, int x) { return b.conv2d(x, "op", spec, {}); }));
  };
  for (const std::int64_t channels : {2, 5, 9, 13, 23, 31, 33}) {
    const std::string n = std::to_string(channels);
    add("one_pixel_" + n, {channels, 1, 1}, 1, {.out_channels = channels + 2, .padding = {1, 1}});
    add("primes_" + n, {channels, 7, 11}, 5, {.out_channels = 29, .padding = {1, 1}});
    add("point_" + n, {channels, 3, 5}, 1, {.out_channels = 11, .kernel = {1, 1}});
  }
  add("rest_of_stride", {7, 11, 13}, 2, {.out_channels = 9, .stride = {3, 4}, .padding = {1, 0}});
  add("stride_beyond_kernel", {3, 13, 9}, 1, {.out_channels = 6, .kernel = {2, 2}, .stride = {5, 3}});
  add("one_axis_kernels", {5, 9, 9}, 3, {.out_channels = 7, .kernel = {1, 7}, .padding = {0, 3}});
  add("padding_beyond_image", {3, 2, 2}, 2, {.out_channels = 5, .kernel = {5, 5}, .padding = {4, 3}});
  add("dilated_stride", {3, 17, 13}, 2,
      {.out_channels = 5, .stride = {2, 1}, .padding = {3, 2}, .dilation = {3, 2}});
  add("groups_of_3", {9, 5, 7}, 2, {.out_channels = 15, .padding = {1, 1}, .groups = 3});
  add("groups_of_5_strided", {15, 7, 7}, 1, {.out_channels = 10, .stride = {2, 2}, .groups = 5});
  add("depthwise_17", {17, 5, 5}, 2, {.out_channels = 17, .padding = {1, 1}, .groups = 17, .bias = false});
  add("depthwise_dilated", {13, 9, 9}, 1,
      {.out_channels = 13, .padding = {2, 2}, .dilation = {2, 2}, .groups = 13});
  return cases;
}

std::vector<Case> transposed_convolutions() {
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, const Shape& sample, std::int64_t microbatch,
                       const ConvTranspose2d& spec) {
    cases.push_back(on_image(name, sample, microbatch,
                             [=](GraphBuilder& b, int x) { return b.conv_transpose2d(x, "op", spec, {}); }));
  };
  for (const std::int64_t channels : {1, 3, 13, 17})
    add("up_" + std::to_string(channels), {channels, 3, 1}, 1, {.out_channels = 19 - channels});
  add("up_thrice", {5, 2, 3}, 2, {.out_channels = 7, .kernel = {3, 3}, .stride = {3, 3}});
  add("up_oblong", {3, 4, 3}, 3, {.out_channels = 5, .kernel = {4, 1}, .stride = {2, 1}, .padding = {1, 0}});
  add("up_sparse", {4, 3, 3}, 1,
      {.out_channels = 3, .kernel = {2, 2}, .stride = {4, 3}, .output_padding = {1, 2}});
  add("up_groups_of_3", {9, 3, 4}, 2, {.out_channels = 6, .kernel = {3, 3}, .padding = {1, 1}, .groups = 3});
  return cases;
}

std::vector<Case> images_and_rows() {
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, const Shape& sample, std::int64_t microbatch,
                       const OpSpec& spec, double bf16 = 0.06) {
    cases.push_back(on_image(
        name, sample, microbatch, [=](GraphBuilder& b, int x) { return b.apply(spec, {x}, "op"); }, bf16));
  };
  for (const Shape& sample : {Shape{1, 3, 3}, Shape{13, 5, 7}, Shape{31, 11, 3}}) {
    add("max_pool_3x2", sample, 1, MaxPool{{3, 2}, {1, 1}, {1, 0}}, 0.2);
    add("average_pool_3x3", sample, 1, AveragePool{{3, 3}, {1, 1}, {1, 1}, false});
    add("global_pool", sample, 5, GlobalAveragePool{});
    add("relu", sample, 1, Relu{}, 0.1);  // rounding may carry a number over zero, and with it its gradient
    add("gelu", sample, 1, Gelu{false});
    add("flatten", sample, 5, Flatten{});
    add("shortcut_stride_3", sample, 1, ShortcutA{.out_channels = sample[0] + 4, .stride = 3});
    add("resize_3", sample, 1, Resize{3});
    add("dropout", sample, 5, Dropout{0.4F});
  }
  for (const std::int64_t channels : {1, 5, 13, 31}) {
    cases.push_back(on_image("batch_norm", {channels, 3, 5}, 2, [](GraphBuilder& b, int x) {
      return b.batch_norm(x, "op", {.epsilon = 0.1F});
    }));
  }
  return cases;
}

std::vector<Case> sequences() {
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, const Shape& sample, std::int64_t microbatch,
                       const std::function<int(GraphBuilder&, int)>& op) {
    cases.push_back({name + "_" + text(sample) + "_n" + std::to_string(microbatch),
                     [=](GraphBuilder& b) {
                       b.predict(op(b, sequence_behind_parameters(b, sample)));
                       b.loss(MeanSquaredError{});
                     },
                     microbatch});
  };
  for (const Shape& sample : {Shape{1, 1}, Shape{1, 13}, Shape{7, 31}, Shape{13, 33}}) {
    for (const std::int64_t features : {1, 11, 37})
      add("linear_to_" + std::to_string(features), sample, 1,
          [=](GraphBuilder& b, int x) { return b.linear(x, "op", {.out_features = features}, {}); });
    add("layer_norm", sample, 1,
        [](GraphBuilder& b, int x) { return b.layer_norm(x, "op", {.epsilon = 0.1F}); });
    add("gelu", sample, 1, [](GraphBuilder& b, int x) { return b.apply(Gelu{true}, {x}, "op"); });
    add("positions", sample, 3,
        [](GraphBuilder& b, int x) { return b.position_embedding(x, "op", {.context = 17}, {}); });
  }
  for (const auto& [time, heads, depth] :
       {std::tuple{1, 3, 1}, std::tuple{13, 5, 3}, std::tuple{31, 1, 11}, std::tuple{67, 3, 7}})
    add("attention_of_" + std::to_string(heads), {time, 3 * heads * depth}, 1,
        [heads = heads](GraphBuilder& b, int x) {
          return b.apply(CausalAttention{heads, 0}, {x}, "op");
        });
  return cases;
}

class CpuOddSizes : public ::testing::TestWithParam<Case> {};

TEST_P(CpuOddSizes, agree_with_the_reference) {
  const Graph graph = make_graph(GetParam().build, GetParam().microbatch);
  expect_agreement(graph, {}, 2e-5);
  expect_agreement(graph, {.microbatches = 2, .reuse_memory = false, .threads = 2}, 2e-5);
  expect_agreement(graph, {.mode = Mode::evaluate}, 2e-5);
}

TEST_P(CpuOddSizes, agree_with_the_reference_in_bf16) {
  LOCKSTEP_NEEDS_BF16();
  const Graph graph = make_graph(GetParam().build, GetParam().microbatch);
  expect_agreement(graph, {.microbatches = 2, .compute = Dtype::bf16}, GetParam().bf16_tolerance);
}

const auto kName = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Convolution, CpuOddSizes, ::testing::ValuesIn(convolutions()), kName);
INSTANTIATE_TEST_SUITE_P(Transposed, CpuOddSizes, ::testing::ValuesIn(transposed_convolutions()), kName);
INSTANTIATE_TEST_SUITE_P(Image, CpuOddSizes, ::testing::ValuesIn(images_and_rows()), kName);
INSTANTIATE_TEST_SUITE_P(Sequence, CpuOddSizes, ::testing::ValuesIn(sequences()), kName);

TEST(CpuBf16, differs_from_f32_by_its_rounding_and_not_by_nothing) {
  LOCKSTEP_NEEDS_BF16();
  const Graph graph = make_graph(convolutions()[1].build, 5);
  const RunResult narrow = run_backend(graph, {.compute = Dtype::bf16});
  const RunResult wide = run_backend(graph, {});
  const double error = relative_error(narrow.prediction, wide.prediction);
  EXPECT_GT(error, 1e-4) << "bf16 keeps 8 bits";
  EXPECT_LT(error, 0.03);
}

TEST(CpuBackend, other_element_types_are_refused_by_name) {
  for (const Dtype dtype : {Dtype::f16, Dtype::f64, Dtype::i32}) {
    BackendOptions options;
    options.compute = dtype;
    try {
      static_cast<void>(make_backend("cpu", options));
      FAIL() << name_of(dtype);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::config);
      EXPECT_NE(std::string(error.what()).find(std::string(name_of(dtype))), std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace lockstep::models::testing
