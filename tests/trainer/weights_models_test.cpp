// Every model of the table through every file format: all bits come back, names and shapes are those of the
// files that others publish, and what belongs to another model or is cut short changes nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "models/model.h"
#include "tests/trainer/weights_subject.h"
#include "trainer/safetensors.h"
#include "trainer/state_dict.h"
#include "trainer/weights.h"

namespace lockstep::trainer {
namespace {

using models::fields;
using models::images;
using models::tokens;

struct Kind {
  const char* model;
  models::Given given;
  models::Task task;
};

/// A small one of every row of the table, with odd sizes.
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {"mlp", {{"hidden", "[7, 5]"}}, images({1, 3, 3}, 4)},
      {"lenet", {}, images({1, 28, 28}, 10)},
      {"cnn", {{"channels", "[3, 5]"}}, images({2, 9, 9}, 3)},
      {"resnet", {{"depth", "20"}, {"shortcut", "B"}}, images({3, 32, 32}, 7)},
      {"vgg16", {{"channels", "3"}, {"hidden", "11"}, {"batch_norm", "true"}}, images({3, 32, 32}, 5)},
      {"unet", {{"channels", "3"}, {"levels", "2"}}, fields({2, 8, 8}, {2, 16, 16})},
      {"gpt2", {{"layers", "2"}, {"width", "12"}, {"heads", "3"}}, tokens(9, 13)}};
  return all;
}

Subject subject(const Kind& kind, std::uint64_t seed) { return {kind.model, kind.given, kind.task, seed}; }

void write_as(const std::string& format, const std::string& path, const Subject& from) {
  if (format == "safetensors") {
    export_safetensors(path, *from.model, from.store);
  } else {
    write_state_dict(path, collect_weights(*from.model, from.store));
  }
}

void expect_same(const Subject& a, const Subject& b, const std::string& what) {
  EXPECT_EQ(a.store.parameter_hash(), b.store.parameter_hash()) << what;
  EXPECT_EQ(a.store.state_hash(), b.store.state_hash()) << what;
}

TEST(WeightsOfModels, the_kinds_tested_are_those_of_the_table) {
  std::set<std::string> table, tested;
  for (const auto& row : models::models().rows()) table.emplace(row.name);
  for (const Kind& kind : kinds()) tested.emplace(kind.model);
  EXPECT_EQ(tested, table);
}

TEST(WeightsOfModels, both_formats_bring_back_every_bit) {
  for (const Kind& kind : kinds()) {
    for (const std::string format : {"safetensors", "hdf5"}) {
      const Subject from = subject(kind, 1);
      Subject into = subject(kind, 2);
      ASSERT_NE(from.store.parameter_hash(), into.store.parameter_hash());
      const std::string path = scratch(kind.model + ("." + format));
      write_as(format, path, from);
      load_weights(path, *into.model, into.store);
      expect_same(from, into, kind.model + (" as " + format));
      std::filesystem::remove(path);
    }
  }
}

TEST(WeightsOfModels, bits_that_arithmetic_would_change_come_back_too) {
  const Kind& kind = kinds()[0];
  Subject from = subject(kind, 1);
  const std::vector<float> odd{-0.0F,           0.0F,      0x1p-149F,      -0x1p-149F,
                               0x1.fffffep127F, 0x1p-126F, 0x1.2468acp-3F, -1.0F / 3};
  std::vector<float> values = from.store.read("fc1.weight");
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = odd[i % odd.size()];
  from.store.write("fc1.weight", values);
  for (const std::string format : {"safetensors", "hdf5"}) {
    Subject into = subject(kind, 2);
    const std::string path = scratch(format);
    write_as(format, path, from);
    load_weights(path, *into.model, into.store);
    expect_same(from, into, format);
    std::filesystem::remove(path);
  }
}

TEST(WeightsOfModels, files_hold_every_slot_and_state_once_and_nothing_else) {
  for (const Kind& kind : kinds()) {
    const Subject from = subject(kind, 1);
    const NamedTensors tensors = collect_weights(*from.model, from.store);
    EXPECT_EQ(tensors.size(), from.store.layout().slots().size() + from.store.state_layout().slots().size())
        << kind.model;
    std::int64_t numbers = 0;
    for (const auto& [name, tensor] : tensors) {
      EXPECT_EQ(static_cast<std::int64_t>(tensor.values.size()), tensor.shape.count()) << name;
      numbers += tensor.shape.count();
    }
    EXPECT_EQ(numbers, from.store.layout().canonical_count() + from.store.state_layout().canonical_count())
        << kind.model;
  }
}

using Shapes = std::map<std::string, Shape>;

void expect_shapes(const char* model, const Shapes& wanted) {
  const auto kind =
      std::ranges::find_if(kinds(), [&](const Kind& each) { return std::string(each.model) == model; });
  ASSERT_NE(kind, kinds().end());
  const Subject from = subject(*kind, 1);
  const NamedTensors tensors = collect_weights(*from.model, from.store);
  for (const auto& [name, shape] : wanted) {
    ASSERT_TRUE(tensors.contains(name)) << model << " lacks " << name;
    EXPECT_EQ(tensors.at(name).shape.text(), shape.text()) << model << ": " << name;
  }
}

TEST(WeightsOfModels, names_and_shapes_are_those_of_published_files) {
  expect_shapes("mlp", {{"fc1.weight", {7, 9}}, {"fc2.bias", {5}}, {"fc3.weight", {4, 5}}});
  expect_shapes("lenet", {{"conv1.weight", {6, 1, 5, 5}},
                          {"conv2.bias", {16}},
                          {"fc1.weight", {120, 400}},
                          {"fc2.weight", {84, 120}},
                          {"fc3.weight", {10, 84}}});
  // torchvision's vgg16_bn numbers convolution, norm, ReLU and pool in one list.
  expect_shapes("vgg16", {{"features.0.weight", {3, 3, 3, 3}},
                          {"features.1.running_mean", {3}},
                          {"features.7.weight", {6, 3, 3, 3}},
                          {"features.40.weight", {24, 24, 3, 3}},
                          {"features.41.running_var", {24}},
                          {"classifier.0.weight", {11, 24}},
                          {"classifier.6.bias", {5}}});
  expect_shapes("resnet", {{"layer2.0.shortcut.0.weight", {32, 16, 1, 1}},
                           {"layer3.2.conv2.weight", {64, 64, 3, 3}},
                           {"linear.weight", {7, 64}}});
  expect_shapes("unet", {{"down0.conv1.weight", {3, 2, 3, 3}},
                         {"bottom.bn2.running_mean", {12}},
                         {"up1.enlarge.weight", {12, 6, 2, 2}},
                         {"up0.conv1.weight", {3, 6, 3, 3}},
                         {"head.weight", {2, 3, 1, 1}}});
  expect_shapes("gpt2", {{"transformer.wte.weight", {13, 12}},
                         {"transformer.wpe.weight", {9, 12}},
                         {"transformer.h.0.attn.c_attn.weight", {12, 36}},
                         {"transformer.h.1.mlp.c_proj.weight", {48, 12}},
                         {"transformer.ln_f.weight", {12}}});
}

TEST(WeightsOfModels, those_of_another_model_are_refused_and_change_nothing) {
  for (const Kind& theirs : kinds()) {
    const Subject from = subject(theirs, 1);
    const NamedTensors tensors = collect_weights(*from.model, from.store);
    for (const Kind& ours : kinds()) {
      if (&ours == &theirs) continue;
      Subject into = subject(ours, 2);
      expect_says(refusal([&] { assign_weights(tensors, "theirs.h5", *into.model, into.store); }),
                  "'theirs.h5'");
      expect_same(into, subject(ours, 2), std::string(theirs.model) + " into " + ours.model);
    }
  }
}

TEST(WeightsOfModels, file_cut_anywhere_is_refused_by_name_and_changes_nothing) {
  const Kind& kind = kinds()[3];
  const Subject from = subject(kind, 1);
  for (const std::string format : {"safetensors", "hdf5"}) {
    const std::string path = scratch(format), cut = scratch("cut." + format);
    write_as(format, path, from);
    std::ifstream in(path, std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(in), {}};
    for (const std::size_t sixteenth : {0U, 1U, 2U, 5U, 8U, 11U, 15U}) {
      std::ofstream(cut, std::ios::binary) << whole.substr(0, whole.size() * sixteenth / 16);
      Subject into = subject(kind, 2);
      expect_says(refusal([&] { load_weights(cut, *into.model, into.store); }), cut);
      expect_same(into, subject(kind, 2), format);
    }
    std::ofstream(cut, std::ios::binary) << whole;  // negative control: the whole file loads
    Subject into = subject(kind, 2);
    load_weights(cut, *into.model, into.store);
    expect_same(from, into, format);
    std::filesystem::remove(path);
    std::filesystem::remove(cut);
  }
}

}  // namespace
}  // namespace lockstep::trainer
