// A metric judges only samples of its kind: labels read as numbers, or numbers as labels, would be nonsense
// at best. The automatic choice always fits, at any shape.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/support/refusal.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/metric/metric.h"

namespace lockstep::trainer {
namespace {

const std::map<std::string, Judged> kKinds = {
    {"one of one class", {1, Shape{}, false}},
    {"one of ten classes", {10, Shape{}, false}},
    {"a class a pixel", {3, Shape{5, 7}, false}},
    {"a class a place", {2, Shape{4}, false}},
    {"tokens", {65, Shape{64}, true}},
    {"a window of one token", {11, Shape{1}, true}},
    {"fields", {0, Shape{1, 8, 8}, false}},
    {"numbers", {0, Shape{3}, false}},
    {"one number", {0, Shape{}, false}},
    {"a flat field", {0, Shape{8, 8}, false}},
};
/// Which metrics judge them.
const std::map<std::string, std::set<std::string>> kFits = {
    {"one of one class", {"accuracy", "iou", "perplexity"}},
    {"one of ten classes", {"accuracy", "iou", "perplexity"}},
    {"a class a pixel", {"iou", "perplexity"}},
    {"a class a place", {"iou", "perplexity"}},
    {"tokens", {"perplexity"}},
    {"a window of one token", {"perplexity"}},
    {"fields", {"rmse"}},
    {"numbers", {"rmse"}},
    {"one number", {"rmse"}},
    {"a flat field", {"rmse"}},
};

Options defaults(const std::string& name) { return Options::of(metrics().row(name).settings); }

TEST(MetricFit, each_metric_judges_its_kinds_and_refuses_the_others_with_one_that_fits) {
  for (const auto& [kind, samples] : kKinds) {
    for (const auto& row : metrics().rows()) {
      const std::string name(row.name);
      const auto made = [&] { return make_metric(name, defaults(name), samples); };
      if (name == "auto") continue;
      if (kFits.at(kind).contains(name)) {
        EXPECT_NO_THROW(static_cast<void>(made())) << name << " of " << kind;
        continue;
      }
      expect_error(Fault::config, {"metric '" + name + "' needs"}, [&] { static_cast<void>(made()); });
      try {
        static_cast<void>(made());
      } catch (const Error& error) {
        EXPECT_EQ(error.hint(), "set metric.name to " + automatic_metric(samples)) << kind;
      }
    }
  }
}

TEST(MetricFit, the_automatic_choice_judges_every_kind) {
  for (const auto& [kind, samples] : kKinds) {
    EXPECT_TRUE(kFits.at(kind).contains(automatic_metric(samples))) << kind;
    EXPECT_NO_THROW(static_cast<void>(make_metric("auto", {}, samples))) << kind;
  }
}

TEST(MetricFit, fields_are_trained_and_judged_by_default) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const Outcome outcome = run_tiny(tiny_config(scratch.path(), "images",
                                               {"model.name=mlp", "loss.name=mse", "data.downsample=2",
                                                "data.target=image", "train.steps=2"}),
                                   3, {.run_directory = scratch.path()});
  EXPECT_EQ(outcome.evaluation.values.front().first, "rmse");
  EXPECT_FALSE(outcome.evaluation.larger_is_better);
}

TEST(MetricFit, refusal_says_what_the_data_set_has) {
  expect_error(Fault::config, {"'iou' needs a label a pixel", "targets [64] of 65 classes"},
               [] { static_cast<void>(make_metric("iou", defaults("iou"), kKinds.at("tokens"))); });
  expect_error(Fault::config, {"'accuracy' needs one label a sample", "fields as targets"},
               [] { static_cast<void>(make_metric("accuracy", defaults("accuracy"), kKinds.at("fields"))); });
}

TEST(MetricFit, a_misfit_is_refused_before_a_step_is_trained) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  write_tiny_tokens(scratch.path() + "/tokens.h5");
  for (const auto& [kind, metric] : std::vector<std::pair<std::string, std::string>>{
           {"images", "rmse"}, {"tokens", "accuracy"}, {"tokens", "iou"}, {"tokens", "rmse"}}) {
    int asked = 0;
    const TrainingOptions options{.run_directory = scratch.path(),
                                  .resume = false,
                                  .asked_to_stop = [&]() -> std::string { return ++asked > 0 ? "" : ""; }};
    expect_error(Fault::config, {"metric '" + metric + "'"}, [&, kind = kind, metric = metric] {
      static_cast<void>(run_tiny(tiny_config(scratch.path(), kind, {"metric.name=" + metric}), 1, options));
    });
    EXPECT_EQ(asked, 0) << "a step was begun";
    expect_error(Fault::config, {"metric '" + metric + "'"}, [&, kind = kind, metric = metric] {
      static_cast<void>(describe_plan(tiny_config(scratch.path(), kind, {"metric.name=" + metric}), 1, true));
    });
  }
  for (const auto& [kind, metric] : std::vector<std::pair<std::string, std::string>>{
           {"images", "perplexity"}, {"images", "iou"}, {"tokens", "perplexity"}})  // negative control
    EXPECT_EQ(run_tiny(tiny_config(scratch.path(), kind, {"metric.name=" + metric}), 1,
                       {.run_directory = scratch.path()})
                  .exit_code,
              0);
}

}  // namespace
}  // namespace lockstep::trainer
