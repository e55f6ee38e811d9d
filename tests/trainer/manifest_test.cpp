// What a checkpoint's manifest says is believed only when it is whole: every member it may lack or hold in
// another shape is damage, told by name with the older checkpoint used, never a mistake of the program.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/worlds.h"
#include "tests/support/refusal.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/checkpoint.h"
#include "trainer/state_file.h"
#include "trainer/weights.h"

namespace lockstep::trainer {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// Runs `body` on ranks as threads with a Control each.
template <class Body>
void on_ranks(int ranks, const Body& body) {
  comm::run_ranks_as_threads(ranks, [&](comm::World& world) {
    comm::Control control(
        comm::make_collectives(world.transport(30), comm::schedules().create("recursive_doubling", {})));
    body(control);
  });
}

Checkpoint made(std::int64_t step, int rank) {
  Checkpoint checkpoint{
      .step = step, .fingerprint = "0011223344556677", .shared = {}, .mine = {}, .rank_files = {}};
  StateWriter(checkpoint.shared).scope("model/values").floats("w", {2}, std::vector<float>{1, 2});
  StateWriter(checkpoint.mine).integer("rank", rank);
  return checkpoint;
}

/// A run directory with checkpoints of steps 10 and 20.
class ManifestTest : public testing::TestWithParam<int> {
 protected:
  ManifestTest() {
    save(10, 5);
    save(20, 5);
  }
  void save(std::int64_t step, std::int64_t keep) const {
    on_ranks(GetParam(), [&](comm::Control& control) {
      static_cast<void>(
          save_checkpoint(directory(), made(step, control.rank()), {.newest = keep, .best = {}}, control));
    });
  }
  [[nodiscard]] std::string directory() const { return scratch_.path(); }
  [[nodiscard]] fs::path place(std::int64_t step) const {
    return fs::path(directory()) / checkpoint_name(step);
  }
  [[nodiscard]] Json manifest() const {
    std::ifstream file(place(20) / "manifest.json");
    return Json::parse(file);
  }
  void write(const std::string& text) const { std::ofstream(place(20) / "manifest.json") << text; }
  /// The step found by all ranks, and rank 0's notes.
  [[nodiscard]] std::pair<std::int64_t, std::vector<std::string>> found() const {
    std::int64_t step = -1;
    std::vector<std::string> all;
    on_ranks(GetParam(), [&](comm::Control& control) {
      std::vector<std::string> notes;
      const auto checkpoint = load_latest_checkpoint(directory(), control, notes);
      if (control.rank() != 0) return;
      step = checkpoint ? checkpoint->step : -1;
      all = notes;
    });
    return {step, all};
  }
  /// The manifest of step 20 says `json`: it is passed over for 10, and refused where it is named.
  void expect_damage(const Json& json, const std::string& what) const {
    write(json.dump());
    const auto [step, notes] = found();
    EXPECT_EQ(step, 10) << what;
    ASSERT_EQ(notes.size(), 1u) << what;
    EXPECT_NE(notes[0].find("manifest.json"), std::string::npos) << notes[0];
    for (const std::string& name : {directory(), place(20).string()})
      expect_error(Fault::checkpoint, {"manifest.json"}, [&] { static_cast<void>(read_weights(name)); });
  }

 private:
  ScratchDirectory scratch_;
};

TEST_P(ManifestTest, each_member_that_is_missing_is_damage) {
  const Json whole = manifest();
  for (const auto& [key, value] : whole.items()) {
    Json less = whole;
    less.erase(key);
    expect_damage(less, "without " + key);
  }
  for (const char* key : {"file", "bytes", "crc32"}) {
    Json less = whole;
    less.at("files").at(0).erase(key);
    expect_damage(less, "without a file's " + std::string(key));
  }
  write(whole.dump());  // negative control
  EXPECT_EQ(found().first, 20);
}

TEST_P(ManifestTest, each_member_of_another_type_is_damage) {
  const Json whole = manifest();
  for (const auto& [key, value] : whole.items()) {
    for (const Json& other : {Json(Json::object()), Json(Json::array({1})), Json(nullptr)}) {
      Json odd = whole;
      odd[key] = other;
      expect_damage(odd, key + " as " + other.dump());
    }
  }
  Json odd = whole;
  odd.at("format") = 3;
  expect_damage(odd, "a number as format");
}

TEST_P(ManifestTest, each_file_must_be_listed) {
  const Json whole = manifest();
  ASSERT_EQ(whole.at("files").size(), static_cast<std::size_t>(GetParam() + 1));
  for (std::size_t i = 0; i < whole.at("files").size(); ++i) {
    Json less = whole;
    less.at("files").erase(i);
    expect_damage(less, "without " + whole.at("files").at(i).dump());
  }
}

TEST_P(ManifestTest, sizes_and_sums_that_differ_are_told_with_the_file) {
  const Json whole = manifest();
  for (const char* key : {"bytes", "crc32"}) {
    Json odd = whole;
    odd.at("files").at(0).at(key) = odd.at("files").at(0).at(key).get<std::int64_t>() ^ 1;
    write(odd.dump());
    EXPECT_EQ(found().first, 10);
    expect_error(Fault::checkpoint, {"shared.h5", "size or checksum"},
                 [&] { static_cast<void>(read_weights(directory())); });
  }
}

TEST_P(ManifestTest, text_that_is_no_object_is_no_manifest) {
  for (const char* text : {"", "null", "17", "\"manifest\"", "[]", "{", "{\"format\":"}) {
    write(text);
    EXPECT_EQ(found().first, 10) << text;
    expect_error(Fault::checkpoint, {"not a manifest"},
                 [&] { static_cast<void>(read_shared_state(directory())); });
  }
}

TEST_P(ManifestTest, folders_with_names_like_steps_that_are_none_are_left_alone) {
  const std::vector<std::string> odd = {
      "step-", "step-x", "step--1", "step-1e3", "step-99999999999999999999999", "step-12 ", "Step-12"};
  for (const std::string& name : odd) fs::create_directories(place(20).parent_path() / name);
  EXPECT_EQ(found(), (std::pair<std::int64_t, std::vector<std::string>>{20, {}}));
  save(30, 1);
  EXPECT_EQ(found().first, 30);
  for (const std::string& name : odd) EXPECT_TRUE(fs::exists(place(20).parent_path() / name)) << name;
}

TEST_P(ManifestTest, a_damaged_later_one_does_not_cost_the_one_just_saved_its_place) {
  fs::resize_file(place(20) / "shared.h5", 7);
  save(12, 1);
  EXPECT_TRUE(fs::exists(place(12)));
  EXPECT_FALSE(fs::exists(place(10)));
  EXPECT_EQ(found().first, 12);
  save(20, 1);  // the damaged one is replaced when the run comes there again
  EXPECT_EQ(found(), (std::pair<std::int64_t, std::vector<std::string>>{20, {}}));
  EXPECT_FALSE(fs::exists(place(12)));
}
INSTANTIATE_TEST_SUITE_P(ranks, ManifestTest, testing::Values(1, 3));

TEST(CheckpointName, is_relative_to_the_run_and_empty_for_none) {
  EXPECT_EQ(checkpoint_name(0), "checkpoints/step-0");
  EXPECT_EQ(checkpoint_name(1'000'000), "checkpoints/step-1000000");
  EXPECT_EQ(checkpoint_name(-1), "");
}

}  // namespace
}  // namespace lockstep::trainer
