// Where a run keeps its files: made before anything is trained, so that an unwritable place is found at once,
// and claimed, so that two jobs never write in one.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
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
                               const std::string& resolved_config, RunClaim* claim) {
  const fs::path directory = wanted.empty() ? fresh_directory(name) : fs::path(wanted);
  if (!resume && holds_run(directory)) {
    throw Error(Fault::config, "the run directory '" + directory.string() + "' holds another run",
                "continue it with --resume, or choose another with --run-dir");
  }
  make_writable(directory);
  if (claim != nullptr) claim->take(directory.string());
  if (resume && fs::is_regular_file(directory / "config.yaml")) return directory.string();
  std::ofstream config(directory / "config.yaml");
  if (!(config << resolved_config).flush()) throw cannot_write(directory);
  return directory.string();
}

std::int64_t done_after(const std::string& directory) {
  std::ifstream file(directory + "/summary.json");
  const auto summary = nlohmann::json::parse(file, nullptr, false);
  if (!summary.is_object() || summary.value("status", "") != "done") return -1;
  return summary.value("steps", std::int64_t{-1});
}

void RunClaim::take(const std::string& directory) {
  const std::string file = directory + "/.claim";
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  // Some parallel file systems have no locks: there nothing is claimed.
  if (descriptor_ < 0 || ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  throw Error(
      Fault::config, "another job is at work in the run directory '" + directory + "'",
      "wait for its end and continue with --resume, or choose another with --run-dir; of a node that is "
      "down remove the lock '" +
          file + "'");
}

RunClaim::~RunClaim() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace lockstep::trainer
