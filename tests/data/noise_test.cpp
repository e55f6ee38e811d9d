// Noise of a real shape: the file says what was asked for, and the same settings make the same set.
#include <gtest/gtest.h>

#include <set>

#include "data/bytes_file.h"
#include "data/tools.h"
#include "tests/data/data_files.h"

namespace lockstep::data {
namespace {

TEST(NoiseImages, have_the_shape_and_labels_asked_for) {
  const TemporaryFolder folder;
  const auto& tool = tool_named(generators(), "generator", "noise_images");
  const auto path = folder.file("noise.h5");
  (void)tool.run(Options::of(tool.settings, {{"output", path},
                                             {"train", "40"},
                                             {"test", "3"},
                                             {"side", "5"},
                                             {"classes", "7"},
                                             {"compression", "0"}}));
  const auto train = open_hdf5({path}, "train");
  EXPECT_EQ(train->size(), 40);
  EXPECT_EQ(train->classes(), 7);
  const auto loader = make_loader(*train, loader_options(), {.microbatch = 40, .train = false});
  EXPECT_EQ(loader->spec().input, (Shape{3, 5, 5}));
  const auto* labels = static_cast<const std::int32_t*>(loader->next().target);
  const std::set<std::int32_t> seen(labels, labels + 40);
  EXPECT_GT(seen.size(), 3U);
  EXPECT_GE(*seen.begin(), 0);
  EXPECT_LT(*seen.rbegin(), 7);
}

TEST(NoiseTokens, stay_inside_the_vocabulary_and_repeat) {
  const TemporaryFolder folder;
  const auto& tool = tool_named(generators(), "generator", "noise_tokens");
  for (const char* name : {"a.h5", "b.h5"}) {
    (void)tool.run(Options::of(
        tool.settings,
        {{"output", folder.file(name)}, {"train", "70000"}, {"validation", "5"}, {"classes", "11"}}));
  }
  EXPECT_EQ(read_bytes(folder.file("a.h5")), read_bytes(folder.file("b.h5")));
  const auto train = open_hdf5({folder.file("a.h5")}, "train");
  EXPECT_EQ(train->size(), 70000);
  EXPECT_EQ(train->classes(), 11);
}

}  // namespace
}  // namespace lockstep::data
