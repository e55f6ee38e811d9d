// Where a run keeps its files: made before anything is trained, so that an unwritable place is found at once.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <system_error>

#include "core/error.h"
#include "trainer/run_log.h"

namespace lockstep::trainer {

namespace {

namespace fs = std::filesystem;

Error cannot_make(const fs::path& directory, const std::error_code& error) {
  return {Fault::config, "cannot make the run directory '" + directory.string() + "': " + error.message(),
          "choose another with --run-dir"};
}

/// runs/<name>-1, -2, ...: makes the first that does not exist. Jobs that start together get one each: only
/// one of them makes it.
fs::path fresh_directory(const std::string& name) {
  const fs::path parent = "runs";
  std::error_code error;
  fs::create_directories(parent, error);
  if (error) throw cannot_make(parent, error);
  for (int number = 1;; ++number) {
    fs::path candidate = parent / (name + "-" + std::to_string(number));
    if (fs::create_directory(candidate, error)) return candidate;
    if (error && !fs::exists(candidate)) throw cannot_make(candidate, error);
  }
}

bool holds_run(const fs::path& directory) {
  std::error_code unreadable;  // make_writable() tells why
  return fs::exists(directory / "summary.json", unreadable) ||
         fs::exists(directory / "checkpoints", unreadable);
}

Error cannot_write(const fs::path& directory) {
  return {Fault::config, "cannot write in the run directory '" + directory.string() + "'",
          "choose another with --run-dir"};
}

void make_writable(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) throw cannot_make(directory, error);
  const fs::path probe = directory / ".writable";
  if (!std::ofstream(probe).put('\n').flush()) throw cannot_write(directory);
  fs::remove(probe, error);
}

}  // namespace

std::string make_run_directory(const std::string& wanted, const std::string& name, bool resume,
                               const std::string& resolved_config) {
  const fs::path directory = wanted.empty() ? fresh_directory(name) : fs::path(wanted);
  if (!resume && holds_run(directory)) {
    throw Error(Fault::config, "the run directory '" + directory.string() + "' holds another run",
                "continue it with --resume, or choose another with --run-dir");
  }
  make_writable(directory);
  std::ofstream config(directory / "config.yaml");
  if (!(config << resolved_config).flush()) throw cannot_write(directory);
  return directory.string();
}

}  // namespace lockstep::trainer
