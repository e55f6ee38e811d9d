// What a finished file may take the place of, and what not.
#include "core/output.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/refusal.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

class OutputPlace : public testing::Test {
 protected:
  OutputPlace() : folder_(fs::temp_directory_path() / ("lockstep-output-" + std::to_string(getpid()))) {
    fs::create_directories(folder_ / "folder");
    std::ofstream(folder_ / "file") << "x";
    mkfifo((folder_ / "pipe").c_str(), 0600);
    fs::create_symlink("file", folder_ / "link-to-file");
    fs::create_symlink("pipe", folder_ / "link-to-pipe");
    fs::create_symlink("folder", folder_ / "link-to-folder");
    fs::create_symlink("nothing", folder_ / "link-to-nothing");
  }
  ~OutputPlace() override { fs::remove_all(folder_); }
  [[nodiscard]] std::string place(const std::string& name) const { return (folder_ / name).string(); }

 private:
  fs::path folder_;
};

TEST_F(OutputPlace, files_links_to_files_and_nothing_may_be_replaced) {
  for (const char* name : {"file", "link-to-file", "link-to-nothing", "nothing", "no/folder/either"})
    EXPECT_NO_THROW(check_replaceable(place(name), Fault::data)) << name;
  EXPECT_NO_THROW(check_replaceable(place(std::string(300, 'x')), Fault::data)) << "creating it tells";
}

TEST_F(OutputPlace, folders_pipes_and_devices_are_refused_by_name_with_the_fault_of_who_asks) {
  for (const auto& [name, kind] : std::vector<std::pair<std::string, std::string>>{
           {"folder", "folder"}, {"link-to-folder", "folder"}, {"pipe", "pipe"}, {"link-to-pipe", "pipe"}}) {
    for (const Fault fault : {Fault::data, Fault::checkpoint, Fault::config})
      expect_error(fault, {place(name), kind}, [&] { check_replaceable(place(name), fault); });
  }
  expect_error(Fault::data, {"/dev/null", "device"}, [] { check_replaceable("/dev/null", Fault::data); });
}

TEST_F(OutputPlace, looking_changes_nothing) {
  for (const char* name : {"file", "nothing", "link-to-nothing"}) check_replaceable(place(name), Fault::data);
  EXPECT_EQ(fs::file_size(place("file")), 1U);
  EXPECT_FALSE(fs::exists(place("nothing")));
}

}  // namespace
}  // namespace lockstep
