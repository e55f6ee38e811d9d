// Checkpoints appear whole or not at all: round trips at several rank counts, every kind of damage, the rule
// of what is kept.
#include "trainer/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>

#include "comm/worlds.h"
#include "core/error.h"
#include "tests/trainer/tiny_run.h"

namespace lockstep::trainer {
namespace {

namespace fs = std::filesystem;

StateMap numbers(const std::string& key, std::vector<float> values) {
  StateMap map;
  StateWriter(map).floats(key, Shape{static_cast<std::int64_t>(values.size())}, values);
  return map;
}
std::vector<float> read(const StateMap& map, const std::string& key, std::int64_t count) {
  return StateReader(map).floats(key, Shape{count});
}

/// Runs `body` on ranks as threads with a Control each.
template <class Body>
void on_ranks(int ranks, const Body& body) {
  comm::run_ranks_as_threads(ranks, [&](comm::World& world) {
    comm::Control control(comm::make_collectives(
        world.transport(30),
        comm::schedules().create("ring", Options::of(comm::schedules().row("ring").settings))));
    body(control);
  });
}

Checkpoint made(std::int64_t step, int rank) {
  const auto at = static_cast<float>(step);
  return {step, "feedfacecafebeef", numbers("model/w", {at, -at, 0.5f}),
          numbers("mine", {static_cast<float>(rank), at})};
}
void save(const std::string& directory, std::int64_t step, int ranks = 1,
          const KeepRule& keep = {.newest = 2, .best = {}}) {
  on_ranks(ranks, [&](comm::Control& control) {
    EXPECT_EQ(save_checkpoint(directory, made(step, control.rank()), keep, control),
              "checkpoints/step-" + std::to_string(step));
  });
}
/// The step of the checkpoint that is found; -1: none.
std::int64_t found(const std::string& directory, std::vector<std::string>& notes) {
  std::int64_t step = -1;
  on_ranks(1, [&](comm::Control& control) {
    if (const auto checkpoint = load_latest_checkpoint(directory, control, notes)) step = checkpoint->step;
  });
  return step;
}

class SavedBy : public testing::TestWithParam<int> {};

TEST_P(SavedBy, every_rank_reads_back_what_it_and_all_saved) {
  const ScratchDirectory scratch;
  save(scratch.path(), 7, GetParam());
  on_ranks(GetParam(), [&](comm::Control& control) {
    std::vector<std::string> notes;
    const auto checkpoint = load_latest_checkpoint(scratch.path(), control, notes);
    ASSERT_TRUE(checkpoint);
    EXPECT_EQ(checkpoint->step, 7);
    EXPECT_EQ(checkpoint->fingerprint, "feedfacecafebeef");
    EXPECT_EQ(read(checkpoint->shared, "model/w", 3), (std::vector<float>{7, -7, 0.5f}));
    EXPECT_EQ(read(checkpoint->mine, "mine", 2), (std::vector<float>{static_cast<float>(control.rank()), 7}));
    EXPECT_TRUE(notes.empty());
  });
}
INSTANTIATE_TEST_SUITE_P(ranks, SavedBy, testing::Values(1, 2, 3, 4));

TEST(Checkpoint, another_number_of_ranks_gets_the_shared_part_and_a_note) {
  const ScratchDirectory scratch;
  save(scratch.path(), 3, 4);
  on_ranks(3, [&](comm::Control& control) {
    std::vector<std::string> notes;
    const auto checkpoint = load_latest_checkpoint(scratch.path(), control, notes);
    ASSERT_TRUE(checkpoint);
    EXPECT_EQ(read(checkpoint->shared, "model/w", 3)[0], 3);
    EXPECT_TRUE(checkpoint->mine.entries.empty());
    ASSERT_EQ(notes.size(), 1u);
    EXPECT_NE(notes[0].find("4 ranks"), std::string::npos) << notes[0];
  });
}

TEST(Checkpoint, none_is_no_error) {
  const ScratchDirectory scratch;
  std::vector<std::string> notes;
  EXPECT_EQ(found(scratch.path(), notes), -1);
  EXPECT_TRUE(notes.empty());
}

TEST(Checkpoint, newest_are_kept_and_the_best_besides) {
  const ScratchDirectory scratch;
  for (std::int64_t step : {1, 2, 3, 4, 5}) save(scratch.path(), step, 1, {.newest = 2, .best = 2});
  const auto exists = [&](int step) {
    return fs::exists(scratch.path() + "/checkpoints/step-" + std::to_string(step));
  };
  EXPECT_FALSE(exists(1));
  EXPECT_TRUE(exists(2));
  EXPECT_FALSE(exists(3));
  EXPECT_TRUE(exists(4));
  EXPECT_TRUE(exists(5));
  EXPECT_EQ(fs::read_symlink(scratch.path() + "/checkpoints/latest"), "step-5");
}

TEST(Checkpoint, half_written_one_is_not_seen_and_the_next_save_clears_it) {
  const ScratchDirectory scratch;
  save(scratch.path(), 4);
  const fs::path aside = fs::path(scratch.path()) / "checkpoints" / ".writing-step-8";
  fs::create_directories(aside);
  std::ofstream(aside / "shared.h5") << "half";
  std::vector<std::string> notes;
  EXPECT_EQ(found(scratch.path(), notes), 4);
  save(scratch.path(), 8);
  EXPECT_EQ(found(scratch.path(), notes), 8);
  EXPECT_FALSE(fs::exists(aside));
}

/// Damages one file of the newer of two checkpoints; the older one must be used and the file named.
class Damage : public testing::TestWithParam<std::string> {
 protected:
  void expect_passed_over(const std::function<void(const fs::path&)>& damage, const std::string& names) {
    const ScratchDirectory scratch;
    save(scratch.path(), 10);
    save(scratch.path(), 20);
    damage(fs::path(scratch.path()) / "checkpoints" / "step-20" / GetParam());
    std::vector<std::string> notes;
    EXPECT_EQ(found(scratch.path(), notes), 10);
    ASSERT_EQ(notes.size(), 1u);
    EXPECT_NE(notes[0].find(names), std::string::npos) << notes[0];
  }
};

TEST_P(Damage, flipped_bit_passes_it_over) {
  expect_passed_over(
      [](const fs::path& file) {
        // The first byte of a manifest, so that it cannot become another valid one.
        const std::uintmax_t place = GetParam() == "manifest.json" ? 0 : fs::file_size(file) / 2;
        std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
        stream.seekg(static_cast<std::streamoff>(place));
        const char byte = static_cast<char>(stream.peek() ^ 1);
        stream.seekp(static_cast<std::streamoff>(place));
        stream.put(byte);
      },
      GetParam());
}
TEST_P(Damage, truncation_passes_it_over) {
  expect_passed_over([](const fs::path& file) { fs::resize_file(file, fs::file_size(file) / 2); },
                     GetParam());
}
TEST_P(Damage, absence_passes_it_over) {
  expect_passed_over([](const fs::path& file) { fs::remove(file); }, GetParam());
}
INSTANTIATE_TEST_SUITE_P(files, Damage, testing::Values("manifest.json", "shared.h5", "rank-0.h5"),
                         [](const auto& each) {
                           return each.param.substr(0, each.param.find_first_of(".-"));
                         });

TEST(Checkpoint, all_damaged_is_an_error_that_names_one) {
  const ScratchDirectory scratch;
  save(scratch.path(), 10);
  fs::resize_file(scratch.path() + "/checkpoints/step-10/shared.h5", 5);
  std::vector<std::string> notes;
  try {
    static_cast<void>(found(scratch.path(), notes));
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::checkpoint);
    EXPECT_NE(std::string(error.what()).find("shared.h5"), std::string::npos) << error.what();
  }
}

TEST(Checkpoint, foreign_manifest_and_other_version_are_named) {
  const ScratchDirectory scratch;
  save(scratch.path(), 10);
  const std::string manifest = scratch.path() + "/checkpoints/step-10/manifest.json";
  for (const auto& [text, says] : std::vector<std::pair<std::string, std::string>>{
           {R"({"format": "other"})", "not a manifest"},
           {"[1, 2]", "not a manifest"},
           {R"({"format": "lockstep-checkpoint", "version": 99, "files": []})", "version 99"}}) {
    std::ofstream(manifest) << text;
    try {
      static_cast<void>(read_shared_state(scratch.path()));
      FAIL() << "read " << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  }
}

TEST(Checkpoint, shared_part_is_read_by_directory_manifest_or_run) {
  const ScratchDirectory scratch;
  save(scratch.path(), 10);
  for (const char* path :
       {"", "/checkpoints/step-10", "/checkpoints/step-10/manifest.json", "/checkpoints/latest"})
    EXPECT_EQ(read(read_shared_state(scratch.path() + path), "model/w", 3)[0], 10) << path;
}

TEST(Checkpoint, unwritable_place_fails_on_every_rank_and_leaves_the_old_ones) {
  const ScratchDirectory scratch;
  save(scratch.path(), 10, 3);
  // A file where the directory for writing aside must go.
  std::ofstream(scratch.path() + "/checkpoints/blocked") << "x";
  int failures = 0;
  std::mutex lock;
  on_ranks(3, [&](comm::Control& control) {
    try {
      static_cast<void>(
          save_checkpoint(scratch.path() + "/checkpoints/blocked", made(11, control.rank()), {}, control));
    } catch (const Error& error) {
      const std::lock_guard guard(lock);
      failures += error.fault() == Fault::checkpoint ? 1 : 0;
    }
  });
  EXPECT_EQ(failures, 3);
  std::vector<std::string> notes;
  EXPECT_EQ(found(scratch.path(), notes), 10);
}

}  // namespace
}  // namespace lockstep::trainer
