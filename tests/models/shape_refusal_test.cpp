// What does not fit is refused where the graph is built: each operation names the node, itself, the shapes,
// and what it wants.
#include <gtest/gtest.h>

#include "core/error.h"
#include "models/graph.h"
#include "models/shape_inference.h"

namespace lockstep::models {
namespace {

struct Misfit {
  const char* name;
  OpSpec op;
  std::vector<Shape> inputs;
  std::vector<const char*> says;
};
void PrintTo(const Misfit& misfit, std::ostream* out) { *out << misfit.name; }

class Refused : public testing::TestWithParam<Misfit> {};

TEST_P(Refused, names_node_operation_and_what_is_wrong) {
  const Misfit& misfit = GetParam();
  try {
    const Shape shape = infer_shape(misfit.op, misfit.inputs, "block.3");
    FAIL() << "accepted as " << shape.text();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    const std::string what = error.what();
    EXPECT_NE(what.find("'block.3'"), std::string::npos) << what;
    for (const char* part : misfit.says)
      EXPECT_NE(what.find(part), std::string::npos) << part << " in " << what;
  }
}

const auto kName = [](const auto& each) { return std::string(each.param.name); };
const Shape kImage{2, 6, 9, 8};

INSTANTIATE_TEST_SUITE_P(
    Convolution, Refused,
    testing::Values(
        Misfit{"rows", Conv2d{.out_channels = 4}, {{2, 6}}, {"(conv2d)", "[N, C, H, W]", "[2, 6]"}},
        Misfit{"two_inputs", Conv2d{.out_channels = 4}, {kImage, kImage}, {"takes 1 input(s), got 2"}},
        Misfit{"no_channels", Conv2d{.out_channels = 0}, {kImage}, {"out_channels is 0"}},
        Misfit{"negative_channels", Conv2d{.out_channels = -2}, {kImage}, {"out_channels is -2"}},
        Misfit{"groups_of_input",
               Conv2d{.out_channels = 8, .groups = 4},
               {kImage},
               {"4 groups", "6 input", "8 output"}},
        Misfit{"groups_of_output", Conv2d{.out_channels = 8, .groups = 3}, {kImage}, {"3 groups"}},
        Misfit{"no_groups", Conv2d{.out_channels = 8, .groups = 0}, {kImage}, {"0 groups"}},
        Misfit{"stride", Conv2d{.out_channels = 8, .stride = {1, 0}}, {kImage}, {"stride 0"}},
        Misfit{"dilation", Conv2d{.out_channels = 8, .dilation = {0, 1}}, {kImage}, {"dilation 0"}},
        Misfit{"padding", Conv2d{.out_channels = 8, .padding = {-1, 0}}, {kImage}, {"padding -1"}},
        Misfit{"empty_kernel", Conv2d{.out_channels = 8, .kernel = {3, 0}}, {kImage}, {"kernel 0"}},
        Misfit{"too_high",
               Conv2d{.out_channels = 8, .kernel = {10, 1}},
               {kImage},
               {"kernel of 10", "extent of 9"}},
        Misfit{"too_wide_dilated",
               Conv2d{.out_channels = 8, .dilation = {1, 4}},
               {kImage},
               {"(dilation 4)", "extent of 8"}}),
    kName);

INSTANTIATE_TEST_SUITE_P(
    TransposedConvolution, Refused,
    testing::Values(
        Misfit{"rows", ConvTranspose2d{.out_channels = 4}, {{2, 6}}, {"(conv_transpose2d)", "[N, C, H, W]"}},
        Misfit{"groups", ConvTranspose2d{.out_channels = 4, .groups = 4}, {kImage}, {"4 groups"}},
        Misfit{"stride", ConvTranspose2d{.out_channels = 4, .stride = {0, 2}}, {kImage}, {"stride 0"}},
        Misfit{"dilation", ConvTranspose2d{.out_channels = 4, .dilation = {1, 0}}, {kImage}, {"dilation 0"}},
        Misfit{"kernel", ConvTranspose2d{.out_channels = 4, .kernel = {0, 2}}, {kImage}, {"kernel 0"}},
        Misfit{"padding", ConvTranspose2d{.out_channels = 4, .padding = {-1, 0}}, {kImage}, {"padding -1"}},
        Misfit{"all_padded_away",
               ConvTranspose2d{.out_channels = 4, .padding = {9, 0}},
               {kImage},
               {"padding 9", "[2, 6, 9, 8]"}},
        Misfit{"output_padding",
               ConvTranspose2d{.out_channels = 4, .output_padding = {0, 2}},
               {kImage},
               {"output_padding 2"}},
        Misfit{"negative_output_padding",
               ConvTranspose2d{.out_channels = 4, .output_padding = {-1, 0}},
               {kImage},
               {"output_padding -1"}}),
    kName);

INSTANTIATE_TEST_SUITE_P(
    Pooling, Refused,
    testing::Values(
        Misfit{"max_rows", MaxPool{}, {{2, 6}}, {"(max_pool)", "[N, C, H, W]"}},
        Misfit{"average_rows", AveragePool{}, {{2, 6, 3}}, {"(average_pool)"}},
        Misfit{"global_rows", GlobalAveragePool{}, {{2, 6, 3}}, {"(global_average_pool)"}},
        Misfit{"max_padding", MaxPool{{2, 2}, {2, 2}, {0, 2}}, {kImage}, {"padding 2", "without an element"}},
        Misfit{"average_padding", AveragePool{{3, 1}, {2, 2}, {0, 1}}, {kImage}, {"padding 1"}},
        Misfit{"max_stride", MaxPool{{2, 2}, {0, 2}}, {kImage}, {"stride 0"}},
        Misfit{"average_too_large", AveragePool{{1, 9}, {1, 1}}, {kImage}, {"kernel of 9", "extent of 8"}}),
    kName);

INSTANTIATE_TEST_SUITE_P(
    Rows, Refused,
    testing::Values(
        Misfit{"batch_norm_sequence", BatchNorm{}, {{2, 3, 4}}, {"(batch_norm)", "[2, 3, 4]"}},
        Misfit{"batch_norm_epsilon", BatchNorm{.epsilon = 0}, {kImage}, {"epsilon must be positive"}},
        Misfit{"layer_norm_vector", LayerNorm{}, {{3}}, {"(layer_norm)", "[3]"}},
        Misfit{"layer_norm_epsilon", LayerNorm{.epsilon = -1}, {{2, 3}}, {"positive epsilon"}},
        Misfit{"linear_vector", Linear{.out_features = 2}, {{3}}, {"(linear)", "[3]"}},
        Misfit{"linear_no_features", Linear{.out_features = 0}, {{2, 3}}, {"out_features", "0"}},
        Misfit{"relu_two", Relu{}, {{2}, {2}}, {"(relu)", "got 2"}},
        Misfit{"leaky_none", LeakyRelu{}, {}, {"(leaky_relu)", "got 0"}},
        Misfit{"gelu_two", Gelu{}, {{2}, {2}}, {"(gelu)"}},
        Misfit{"dropout_all", Dropout{1.0f}, {{2, 3}}, {"(dropout)", "rate 1"}},
        Misfit{"dropout_negative", Dropout{-0.5f}, {{2, 3}}, {"rate -0.5"}},
        Misfit{"flatten_two", Flatten{}, {{2}, {2}}, {"(flatten)"}},
        Misfit{"flatten_scalar", Flatten{}, {Shape{}}, {"at least one axis"}},
        Misfit{"resize_rows", Resize{2}, {{2, 3}}, {"(resize)"}},
        Misfit{"resize_to_nothing", Resize{-1}, {kImage}, {"scale -1"}},
        Misfit{"shortcut_odd", ShortcutA{.out_channels = 9}, {kImage}, {"pad 6 channels evenly to 9"}},
        Misfit{"shortcut_fewer", ShortcutA{.out_channels = 4}, {kImage}, {"pad 6 channels evenly to 4"}},
        Misfit{"shortcut_stride", ShortcutA{.out_channels = 8, .stride = 0}, {kImage}, {"stride 0"}}),
    kName);

INSTANTIATE_TEST_SUITE_P(
    Joins, Refused,
    testing::Values(
        Misfit{"add_one", Add{}, {kImage}, {"(add)", "takes 2 input(s), got 1"}},
        Misfit{"add_shapes", Add{}, {{2, 3}, {2, 4}}, {"[2, 3]", "[2, 4]", "differ"}},
        Misfit{"concat_one", Concat{}, {kImage}, {"(concat)", "at least two"}},
        Misfit{"concat_vectors", Concat{}, {{2}, {2}}, {"[N, C]"}},
        Misfit{"concat_ranks", Concat{}, {{2, 3, 4}, {2, 3}}, {"numbers of axes"}},
        Misfit{"concat_microbatch", Concat{}, {{2, 3}, {4, 3}}, {"[2, 3]", "[4, 3]", "outside the channel"}}),
    kName);

INSTANTIATE_TEST_SUITE_P(
    Language, Refused,
    testing::Values(Misfit{"embedding_rank", Embedding{9, 4}, {{2, 3, 4}}, {"(embedding)", "[N, T]"}},
                    Misfit{"embedding_vocabulary", Embedding{0, 4}, {{2, 3}}, {"vocabulary 0"}},
                    Misfit{"embedding_width", Embedding{9, 0}, {{2, 3}}, {"width 0"}},
                    Misfit{"positions", PositionEmbedding{4}, {{2, 5, 3}}, {"5 positions", "context of 4"}},
                    Misfit{
                        "attention_rank", CausalAttention{1}, {{2, 9}}, {"(causal_attention)", "[N, T, 3C]"}},
                    Misfit{"attention_heads", CausalAttention{4}, {{2, 5, 18}}, {"[2, 5, 18]", "4 heads"}},
                    Misfit{"attention_no_heads", CausalAttention{0}, {{2, 5, 18}}, {"0 heads"}},
                    Misfit{"attention_dropout", CausalAttention{1, 1.5f}, {{2, 5, 18}}, {"dropout 1.5"}},
                    Misfit{"tied_width", TiedLinear{}, {{2, 5, 3}, {11, 4}}, {"(tied_linear)", "width 4"}},
                    Misfit{"tied_alone", TiedLinear{}, {{2, 5, 3}}, {"takes 2"}}),
    kName);

INSTANTIATE_TEST_SUITE_P(
    Loss, Refused,
    testing::Values(
        Misfit{"classes_rank", SoftmaxCrossEntropy{}, {{4}, {4}}, {"cross-entropy", "[4]"}},
        Misfit{"class_targets",
               SoftmaxCrossEntropy{},
               {{4, 3}, {5}},
               {"(softmax_cross_entropy)", "[4, 3]", "[5]"}},
        Misfit{"pixel_targets", SoftmaxCrossEntropy{}, {kImage, {2, 8, 9}}, {"[2, 9, 8]", "got [2, 8, 9]"}},
        Misfit{"smoothing", SoftmaxCrossEntropy{.label_smoothing = 1}, {{4, 3}, {4}}, {"label_smoothing 1"}},
        Misfit{"negative_smoothing",
               SoftmaxCrossEntropy{.label_smoothing = -0.1f},
               {{4, 3}, {4}},
               {"label_smoothing -0.1"}},
        Misfit{"squares", MeanSquaredError{}, {{4, 3}, {3, 4}}, {"(mse)", "[4, 3]", "[3, 4]"}},
        Misfit{"beta", SmoothL1{0}, {{4, 3}, {4, 3}}, {"(smooth_l1)", "beta 0"}},
        Misfit{"one_input", SmoothL1{}, {{4, 3}}, {"takes 2"}}),
    kName);

/// The builder computes the shapes of parameters before it checks: what it makes of misfits must stay an
/// error.
TEST(GraphBuilderRefusals, weighted_operations_on_inputs_without_channels) {
  const auto expect_refused = [](const auto& build, const std::string& node) {
    GraphBuilder builder(2);
    try {
      build(builder, builder.input(Shape{}, Dtype::f32));
      ADD_FAILURE() << node << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::config);
      EXPECT_NE(std::string(error.what()).find("'" + node + "'"), std::string::npos) << error.what();
    }
  };
  expect_refused([](GraphBuilder& b, int x) { b.conv2d(x, "c", {.out_channels = 2}, {}); }, "c");
  expect_refused([](GraphBuilder& b, int x) { b.conv2d(x, "g", {.out_channels = 2, .groups = 0}, {}); }, "g");
  expect_refused([](GraphBuilder& b, int x) { b.conv_transpose2d(x, "t", {.out_channels = 2}, {}); }, "t");
  expect_refused([](GraphBuilder& b, int x) { b.linear(x, "l", {.out_features = 2}, {}); }, "l");
  expect_refused([](GraphBuilder& b, int x) { b.batch_norm(x, "n", {}); }, "n");
  expect_refused([](GraphBuilder& b, int x) { b.layer_norm(x, "y"); }, "y");
  expect_refused([](GraphBuilder& b, int x) { b.position_embedding(x, "p", {.context = 3}, {}); }, "p");
}

TEST(GraphBuilderRefusals, second_input_and_unknown_values_are_mistakes_of_the_program) {
  GraphBuilder builder(1);
  const int x = builder.input({3}, Dtype::f32);
  EXPECT_THROW(static_cast<void>(builder.input({3}, Dtype::f32)), Error);
  for (const int value : {-1, x + 1}) {
    try {
      builder.predict(value);
      FAIL() << value;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::internal);
      EXPECT_NE(std::string(error.what()).find(std::to_string(value)), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace lockstep::models
