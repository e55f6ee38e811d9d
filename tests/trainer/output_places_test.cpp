// Every writer that renames a finished file into place refuses a pipe or a folder there, before it writes.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <map>

#include "data/writer.h"
#include "tests/support/refusal.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/safetensors.h"
#include "trainer/state_dict.h"

namespace lockstep::trainer {
namespace {

namespace fs = std::filesystem;

struct Writer {
  Fault fault;
  std::function<void(const std::string&)> write;
};

void write_set(const std::string& path, std::int64_t samples_per_file) {
  data::SetWriter writer({.path = path, .samples_per_file = samples_per_file});
  writer.begin_split("train", {{"x", Dtype::f32, Shape{}}});
  const float number = 1;
  const std::byte* const block = reinterpret_cast<const std::byte*>(&number);
  writer.append(1, {&block, 1});
  static_cast<void>(writer.finish());
}

const NamedTensors kTensors = {{"w", {Shape{2}, {1, 2}, "F32"}}};
const std::map<std::string, Writer> kWriters = {
    {"safetensors", {Fault::checkpoint, [](const std::string& path) { write_safetensors(path, kTensors); }}},
    {"state dict", {Fault::checkpoint, [](const std::string& path) { write_state_dict(path, kTensors); }}},
    {"data set", {Fault::data, [](const std::string& path) { write_set(path, 0); }}},
    {"data set of many files",
     {Fault::data,
      [](const std::string& path) {
        const fs::path whole(path);  // "out.h5" stands for its first file, "out-train-00000.h5"
        fs::rename(whole, whole.parent_path() / "out-train-00000.h5");
        write_set(path, 1);
      }}},
};

/// What stands at the place that is written to.
const std::map<std::string, std::function<void(const std::string&)>> kObstacles = {
    {"pipe", [](const std::string& path) { EXPECT_EQ(mkfifo(path.c_str(), 0600), 0); }},
    {"folder", [](const std::string& path) { fs::create_directories(path); }},
};

TEST(OutputPlaces, pipes_and_folders_are_refused_by_every_writer_and_stay_what_they_are) {
  for (const auto& [name, writer] : kWriters) {
    for (const auto& [kind, put] : kObstacles) {
      const ScratchDirectory scratch;
      put(scratch.path() + "/out.h5");
      expect_error(writer.fault, {kind}, [&, &run = writer.write] { run(scratch.path() + "/out.h5"); });
      int left = 0;
      for (const auto& entry : fs::directory_iterator(scratch.path())) {
        ++left;
        EXPECT_FALSE(entry.is_regular_file()) << name << " left " << entry.path();
      }
      EXPECT_EQ(left, 1) << name << " at a " << kind;
    }
  }
}

TEST(OutputPlaces, files_are_replaced_by_every_writer) {  // negative control
  for (const auto& [name, writer] : kWriters) {
    const ScratchDirectory scratch;
    const std::string path = scratch.path() + "/out.h5";
    write_safetensors(path, {});
    const auto before = fs::file_size(path);
    EXPECT_NO_THROW(writer.write(path)) << name;
    int left = 0;
    for (const auto& entry : fs::directory_iterator(scratch.path())) {
      ++left;
      EXPECT_NE(fs::file_size(entry.path()), before) << name;
    }
    EXPECT_EQ(left, 1) << name;
  }
}

}  // namespace
}  // namespace lockstep::trainer
