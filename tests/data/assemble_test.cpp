// From stored tensors to what the model is fed: every element type, the choice of tensors, labels of any
// integer type, normalisation from facts and settings, and pairs of fields.
#include "data/assemble.h"

#include <array>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "data_files.h"

namespace lockstep::data {
namespace {

/// A split "train" with the tensors that the test puts into it.
class AssembleFrom : public testing::Test {
 protected:
  AssembleFrom() : file_(Hdf5File::create(folder_.file("a.h5"))) { file_.make_group("/train"); }
  template <class T>
  void add(const std::string& name, const Shape& shape, std::vector<T> values) {
    put(file_, "/train/" + name, shape, std::move(values));
  }
  template <class Value>
  void fact(const std::string& key, const Value& value) {
    file_.set_attribute("/", key, value);
  }
  Loader& load(const std::vector<std::pair<std::string, std::string>>& given, std::int64_t microbatch = 2) {
    file_.flush();
    loader_.reset();  // reads the set until it dies
    set_ = open_hdf5({folder_.file("a.h5")}, "train");
    loader_ = make_loader(*set_, loader_options(given), {.microbatch = microbatch, .train = false});
    return *loader_;
  }
  Error refused(const std::vector<std::pair<std::string, std::string>>& given) {
    return error_of([&] { (void)load(given).next(); });
  }
  static std::vector<float> input_of(const Microbatch& batch, std::int64_t count) {
    const auto* input = static_cast<const float*>(batch.input);
    return {input, input + count};
  }
  static std::vector<std::int32_t> labels_of(const Microbatch& batch, std::int64_t count) {
    const auto* labels = static_cast<const std::int32_t*>(batch.target);
    return {labels, labels + count};
  }

  TemporaryFolder folder_;
  Hdf5File file_;
  std::unique_ptr<Dataset> set_;
  std::unique_ptr<Loader> loader_;
};

template <class T>
void expect_floats() {
  std::vector<T> values;
  for (const float value : {0.0F, 1.0F, 3.0F, 200.0F}) values.push_back(static_cast<T>(value));
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  std::array<float, 4> floats{};
  to_floats(bytes, dtype_of<T>, 4, floats.data());
  EXPECT_EQ(floats, (std::array<float, 4>{0, 1, 3, 200})) << name_of(dtype_of<T>);
  EXPECT_EQ(element_as<double>(bytes, dtype_of<T>, 3), 200.0) << name_of(dtype_of<T>);
  EXPECT_EQ(element_as<std::int64_t>(bytes, dtype_of<T>, 2), 3) << name_of(dtype_of<T>);
}

TEST(Elements, of_every_dtype_become_numbers) {
  expect_floats<double>();
  expect_floats<float>();
  expect_floats<Bf16>();
  expect_floats<F16>();
  expect_floats<std::int64_t>();
  expect_floats<std::int32_t>();
  expect_floats<std::uint16_t>();
  expect_floats<std::uint8_t>();
}

TEST(Elements, keep_the_sign_and_the_width_of_integers) {
  const std::vector<std::int64_t> wide{-(std::int64_t{1} << 40), 1};
  EXPECT_EQ(element_as<std::int64_t>(reinterpret_cast<const std::byte*>(wide.data()), Dtype::i64, 0),
            wide[0]);
  const std::vector<std::int32_t> minus{-5};
  EXPECT_EQ(element_as<std::int64_t>(reinterpret_cast<const std::byte*>(minus.data()), Dtype::i32, 0), -5);
}

TEST_F(AssembleFrom, labels_of_any_integer_type_are_fed_as_i32) {
  add("image", Shape{2, 1}, std::vector<float>{1, 2});
  add("byte", Shape{2}, std::vector<std::uint8_t>{0, 200});
  add("half", Shape{2}, std::vector<std::uint16_t>{0, 200});
  add("whole", Shape{2}, std::vector<std::int32_t>{0, 200});
  add("wide", Shape{2}, std::vector<std::int64_t>{0, 200});
  for (const char* target : {"byte", "half", "whole", "wide"}) {
    auto& loader = load({{"target", target}, {"classes", "201"}});
    EXPECT_EQ(loader.spec().target_dtype, Dtype::i32);
    EXPECT_EQ(labels_of(loader.next(), 2), (std::vector<std::int32_t>{0, 200})) << target;
    const auto error = refused({{"target", target}, {"classes", "200"}});
    EXPECT_TRUE(mentions(error, "is 200, but there are 200 classes")) << error.what();
  }
}

TEST_F(AssembleFrom, label_too_wide_for_i32_is_refused_not_cut) {
  add("image", Shape{2, 1}, std::vector<float>{1, 2});
  add("label", Shape{2}, std::vector<std::int64_t>{0, (std::int64_t{1} << 32) + 1});
  EXPECT_TRUE(mentions(refused({{"classes", "10"}}), "4294967297"));
}

TEST_F(AssembleFrom, label_to_ignore_may_be_chosen) {
  add("image", Shape{2, 1}, std::vector<float>{1, 2});
  add("label", Shape{2}, std::vector<std::uint8_t>{255, 1});
  EXPECT_EQ(labels_of(load({{"classes", "2"}, {"ignore_label", "255"}}).next(), 2),
            (std::vector<std::int32_t>{255, 1}));
  EXPECT_EQ(refused({{"classes", "2"}}).fault(), Fault::data);
}

TEST_F(AssembleFrom, first_name_that_is_understood_is_the_input_and_the_only_other_tensor_will_do) {
  add("zebra", Shape{2, 1}, std::vector<float>{7, 8});
  add("label", Shape{2}, std::vector<std::int32_t>{0, 1});
  EXPECT_EQ(input_of(load({{"classes", "2"}}).next(), 2), (std::vector<float>{7, 8}));
  add("field", Shape{2, 1}, std::vector<float>{3, 4});
  EXPECT_EQ(input_of(load({{"classes", "2"}}).next(), 2), (std::vector<float>{3, 4}));
  add("image", Shape{2, 1}, std::vector<float>{5, 6});
  EXPECT_EQ(input_of(load({{"classes", "2"}}).next(), 2), (std::vector<float>{5, 6}));
  EXPECT_EQ(input_of(load({{"classes", "2"}, {"input", "zebra"}}).next(), 2), (std::vector<float>{7, 8}));
}

TEST_F(AssembleFrom, set_that_does_not_say_what_to_predict_is_refused_with_its_tensors) {
  add("image", Shape{2, 1}, std::vector<float>{1, 2});
  add("mystery", Shape{2}, std::vector<float>{1, 2});
  const auto target = refused({});
  EXPECT_EQ(target.fault(), Fault::config);
  EXPECT_TRUE(mentions(target, "which tensor is the target; it has: image, mystery")) << target.what();
  add("another", Shape{2}, std::vector<float>{1, 2});
  const auto input = refused({{"input", "imag"}, {"target", "mystery"}});
  EXPECT_TRUE(mentions(input, "no tensor 'imag'")) << input.what();
}

TEST_F(AssembleFrom, one_fact_serves_all_channels_and_bytes_count_in_parts_of_255) {
  add("image", Shape{1, 2, 1, 2}, std::vector<std::uint8_t>{0, 51, 102, 255});
  add("label", Shape{1}, std::vector<std::int32_t>{0});
  fact("classes", std::int64_t{1});
  fact("mean", std::array{0.2});
  fact("deviation", std::array{0.5});
  const auto input = input_of(load({}, 1).next(), 4);
  const std::array<double, 4> expected{-0.4, 0, 0.4, 1.6};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(input[i], expected.at(i), 1e-6);
  EXPECT_EQ(input_of(load({{"normalise", "false"}}, 1).next(), 4)[3], 1.0F);
  EXPECT_NEAR(input_of(load({{"mean", "[0, 1]"}}, 1).next(), 4)[2], (0.4 - 1) / 0.5, 1e-6);
}

TEST_F(AssembleFrom, fact_with_a_deviation_of_zero_or_too_many_channels_is_refused_by_file) {
  add("image", Shape{1, 2, 1, 1}, std::vector<float>{1, 2});
  add("label", Shape{1}, std::vector<std::int32_t>{0});
  fact("classes", std::int64_t{1});
  fact("deviation", std::array{1.0, 0.0});
  EXPECT_TRUE(mentions(refused({}), "deviation of channel 1 is 0"));
  fact("deviation", std::array{1.0, 2.0, 3.0});
  const auto error = refused({});
  EXPECT_TRUE(mentions(error, "a.h5") && mentions(error, "3 values for 2 channels")) << error.what();
}

TEST_F(AssembleFrom, more_classes_than_labels_can_count_are_refused_by_file) {
  add("image", Shape{1, 1, 1, 1}, std::vector<float>{1});
  add("label", Shape{1}, std::vector<std::int32_t>{0});
  for (const std::int64_t classes : {std::int64_t{1} << 31, std::int64_t{9223372036854775807}}) {
    fact("classes", classes);
    const auto error = refused({});
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_TRUE(mentions(error, "a.h5") && mentions(error, std::to_string(classes))) << error.what();
    EXPECT_EQ(load({{"classes", "2"}}, 1).spec().classes, 2) << "what is given wins";
  }
  fact("classes", (std::int64_t{1} << 31) - 1);
  EXPECT_EQ(load({}, 1).spec().classes, (std::int64_t{1} << 31) - 1);
}

TEST_F(AssembleFrom, mean_and_deviation_that_are_not_finite_are_refused_with_their_channel) {
  add("image", Shape{1, 2, 1, 1}, std::vector<float>{1, 2});
  add("label", Shape{1}, std::vector<std::int32_t>{0});
  fact("classes", std::int64_t{1});
  for (const char* numbers : {"[0, .inf]", "[0, -.inf]"})
    EXPECT_TRUE(mentions(refused({{"mean", numbers}}), "mean of channel 1 is")) << numbers;
  EXPECT_TRUE(mentions(refused({{"deviation", "[1, .inf]"}}), "deviation of channel 1 is inf"));
  EXPECT_NO_THROW((void)load({{"normalise", "false"}, {"mean", "[.inf]"}}, 1)) << "nobody uses it";
}

TEST_F(AssembleFrom, vectors_have_one_channel) {
  add("input", Shape{2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  add("target", Shape{2}, std::vector<double>{0.5, -0.5});
  auto& loader = load({{"mean", "[1]"}, {"deviation", "[2]"}});
  EXPECT_EQ(loader.spec().input, Shape{3});
  EXPECT_EQ(loader.spec().target_dtype, Dtype::f32);
  const auto& batch = loader.next();
  EXPECT_EQ(input_of(batch, 6), (std::vector<float>{0, 0.5, 1, 1.5, 2, 2.5}));
  EXPECT_EQ(static_cast<const float*>(batch.target)[1], -0.5F);
}

// ---- pairs of fields

TEST_F(AssembleFrom, field_and_its_coarse_twin_are_both_normalised) {
  std::vector<float> field(2 * 16);
  std::iota(field.begin(), field.end(), 0.0F);
  add("field", Shape{1, 2, 4, 4}, field);
  auto& loader = load({{"downsample", "2"}, {"mean", "[0, 16]"}, {"deviation", "[2, 4]"}}, 1);
  EXPECT_EQ(loader.spec().input, (Shape{2, 2, 2}));
  EXPECT_EQ(loader.spec().target, (Shape{2, 4, 4}));
  const auto& batch = loader.next();
  const auto* fine = static_cast<const float*>(batch.target);
  EXPECT_EQ(fine[5], 2.5F);
  EXPECT_EQ(fine[16 + 5], 1.25F);
  // Squares {0, 1, 4, 5}, {2, 3, 6, 7}, ... have the means 2.5, 4.5, 10.5, 12.5, before normalising.
  EXPECT_EQ(input_of(batch, 8), (std::vector<float>{1.25, 2.25, 5.25, 6.25, 0.625, 1.125, 2.625, 3.125}));
}

TEST_F(AssembleFrom, nearest_repeats_and_bilinear_joins_the_coarse_field) {
  add("field", Shape{1, 2, 4}, std::vector<float>{0, 0, 4, 4, 0, 0, 4, 4});
  EXPECT_EQ(input_of(load({{"downsample", "2"}, {"upsample", "nearest"}}, 1).next(), 8),
            (std::vector<float>{0, 0, 4, 4, 0, 0, 4, 4}));
  EXPECT_EQ(input_of(load({{"downsample", "2"}, {"upsample", "bilinear"}}, 1).next(), 8),
            (std::vector<float>{0, 1, 3, 4, 0, 1, 3, 4}));
}

TEST_F(AssembleFrom, what_is_no_field_or_does_not_divide_is_refused_with_its_shape) {
  add("target", Shape{2, 6}, std::vector<float>(12));
  add("field", Shape{2, 6, 4}, std::vector<float>(48));
  EXPECT_TRUE(mentions(refused({{"downsample", "2"}}), "'target' [6] is no field"));
  EXPECT_TRUE(
      mentions(refused({{"downsample", "4"}, {"target", "field"}}), "does not divide into squares of 4"));
  EXPECT_EQ(load({{"downsample", "2"}, {"target", "field"}}).spec().input, (Shape{1, 3, 2}));
}

// ---- tokens

TEST_F(AssembleFrom, tokens_in_rows_are_no_text) {
  add("tokens", Shape{4, 3}, std::vector<std::int32_t>(12, 1));
  add("label", Shape{4}, std::vector<std::int32_t>(4, 0));
  auto& loader = load({{"classes", "2"}, {"input", "tokens"}, {"normalise", "false"}});
  EXPECT_EQ(loader.spec().input, Shape{3});
  EXPECT_EQ(loader.spec().samples, 4);
}

TEST_F(AssembleFrom, tokens_of_any_integer_type_make_the_same_windows) {
  const auto windows = [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> tokens(20);
    std::iota(tokens.begin(), tokens.end(), zero);
    auto file = Hdf5File::create(folder_.file("t.h5"));
    file.make_group("/train");
    put(file, "/train/tokens", Shape{20}, tokens);
    file.flush();
    const auto set = open_hdf5({folder_.file("t.h5")}, "train");
    const auto loader = make_loader(*set, loader_options({{"context", "4"}, {"classes", "20"}}),
                                    {.microbatch = 4, .train = false});
    const auto* input = static_cast<const std::int32_t*>(loader->next().input);
    return std::vector<std::int32_t>(input, input + 16);
  };
  std::vector<std::int32_t> expected(16);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(windows(std::uint8_t{0}), expected);
  EXPECT_EQ(windows(std::uint16_t{0}), expected);
  EXPECT_EQ(windows(std::int32_t{0}), expected);
  EXPECT_EQ(windows(std::int64_t{0}), expected);
}

TEST_F(AssembleFrom, vocabulary_that_nobody_states_is_asked_for) {
  add("tokens", Shape{20}, std::vector<std::uint16_t>(20, 1));
  const auto error = refused({{"context", "4"}});
  EXPECT_EQ(error.fault(), Fault::config);
  EXPECT_TRUE(mentions(error, "vocabulary size")) << error.what();
  EXPECT_NE(error.hint().find("data.classes"), std::string::npos);
}

}  // namespace
}  // namespace lockstep::data
