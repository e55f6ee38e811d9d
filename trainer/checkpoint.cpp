#include "trainer/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "trainer/state_file.h"

namespace lockstep::trainer {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "lockstep-checkpoint";
constexpr int kVersion = 1;
constexpr const char* kAside = ".writing-";
constexpr const char* kShared = "shared.h5";

fs::path checkpoints_of(const std::string& run_directory) { return fs::path(run_directory) / "checkpoints"; }
std::string step_name(std::int64_t step) { return "step-" + std::to_string(step); }
std::string rank_file(int rank) { return "rank-" + std::to_string(rank) + ".h5"; }

/// The step of a directory called step-N, or -1; no run comes to more than 18 digits.
std::int64_t step_of(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name.rfind("step-", 0) != 0 || name.size() == 5 || name.size() > 5 + 18 ||
      name.find_first_not_of("0123456789", 5) != std::string::npos)
    return -1;
  return std::stoll(name.substr(5));
}

/// Steps that have a directory, newest first.
std::vector<std::int64_t> steps_in(const fs::path& directory) {
  std::vector<std::int64_t> steps;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    if (step_of(entry.path()) >= 0) steps.push_back(step_of(entry.path()));
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

/// Runs `work` on this rank; afterwards every rank knows the first failure and throws it.
template <class Work>
void all_or_none(comm::Control& control, Work&& work) {
  std::string failure;
  try {
    work();
  } catch (const std::exception& error) {
    failure = error.what();
  }
  const std::vector<std::string> failures = control.gather(failure);
  for (std::size_t rank = 0; rank < failures.size(); ++rank) {
    if (failures[rank].empty()) continue;
    throw Error(Fault::checkpoint, "rank " + std::to_string(rank) + ": " + failures[rank],
                "free some space or make the run directory writable; older checkpoints are still whole");
  }
}

Json sum_json(const fs::path& file) {
  const FileSum sum = sum_file(file.string());
  return {{"file", file.filename().string()}, {"bytes", sum.bytes}, {"crc32", sum.crc}};
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream file(path);
  if (!(file << text).flush())
    throw Error(Fault::checkpoint, "cannot write '" + path.string() + "'", "free some space on the disk");
  file.close();
  sync_path(path.string());
}

constexpr const char* kUseOlder = "use an older checkpoint of the run, or copy this one again";

struct Manifest {
  std::int64_t step = 0;
  int ranks = 0;
  std::string fingerprint;
  std::map<std::string, FileSum> files;
};

/// Throws Json::exception where something is missing or of another type.
Manifest manifest_of(const Json& json) {
  Manifest manifest{json.at("step").get<std::int64_t>(),
                    json.at("ranks").get<int>(),
                    json.at("fingerprint").get<std::string>(),
                    {}};
  for (const Json& entry : json.at("files")) {
    manifest.files[entry.at("file").get<std::string>()] = {entry.at("bytes").get<std::int64_t>(),
                                                           entry.at("crc32").get<std::uint32_t>()};
  }
  return manifest;
}

Manifest read_manifest(const fs::path& path) {
  constexpr const char* kWhere = "name a run directory, or checkpoints/step-N in it";
  std::ifstream file(path);
  if (!file) throw Error(Fault::checkpoint, "'" + path.string() + "' is missing", kWhere);
  const Json json = Json::parse(file, nullptr, false);
  if (!json.is_object() || json.value("format", Json()) != kFormat) {
    throw Error(Fault::checkpoint, "'" + path.string() + "' is not a manifest of a Lockstep checkpoint",
                kWhere);
  }
  if (json.value("version", Json()) != kVersion) {
    throw Error(Fault::checkpoint,
                "'" + path.string() + "' has version " + json.value("version", Json()).dump() +
                    ", this program reads version " + std::to_string(kVersion),
                "use the program that wrote it");
  }
  try {
    return manifest_of(json);
  } catch (const Json::exception& error) {
    throw Error(Fault::checkpoint, "'" + path.string() + "' is damaged: " + error.what(), kUseOlder);
  }
}

/// The manifest of a whole checkpoint; throws naming what is wrong.
Manifest verified_manifest(const fs::path& directory) {
  const fs::path path = directory / "manifest.json";
  Manifest manifest = read_manifest(path);
  for (int rank = -1; rank < manifest.ranks; ++rank) {
    const std::string name = rank < 0 ? kShared : rank_file(rank);
    if (!manifest.files.contains(name))
      throw Error(Fault::checkpoint, "'" + path.string() + "' is damaged: it does not list " + name,
                  kUseOlder);
  }
  for (const auto& [name, stated] : manifest.files) {
    const fs::path part = directory / name;
    if (!fs::exists(part)) throw Error(Fault::checkpoint, "'" + part.string() + "' is missing", kUseOlder);
    if (sum_file(part.string()) != stated)
      throw Error(Fault::checkpoint, "'" + part.string() + "' is damaged: size or checksum differ",
                  kUseOlder);
  }
  return manifest;
}

/// Removes checkpoints beyond the rule; never the one just saved. Later ones do not count: they are damaged,
/// or the run would have gone on from them.
void prune(const fs::path& directory, const KeepRule& keep, std::int64_t saved) {
  std::int64_t kept = 0;
  for (const std::int64_t step : steps_in(directory)) {
    if (step > saved || kept++ < keep.newest || (keep.best && step == *keep.best)) continue;
    std::error_code ignored;
    fs::remove_all(directory / step_name(step), ignored);
  }
}

/// Makes the finished directory visible under its name and points `latest` at it.
void publish(const fs::path& directory, const fs::path& aside, std::int64_t step) {
  sync_path(aside.string());
  const fs::path final_place = directory / step_name(step);
  fs::remove_all(final_place);
  fs::rename(aside, final_place);
  const fs::path link = directory / ".latest";
  fs::remove(link);
  fs::create_directory_symlink(step_name(step), link);
  fs::rename(link, directory / "latest");
  sync_path(directory.string());
}

/// This rank's files, and their checksums as JSON text.
std::string write_own_files(const fs::path& aside, const Checkpoint& checkpoint, int rank) {
  Json sums = Json::array();
  const auto write = [&](const std::string& name, const StateMap& state) {
    write_state_file((aside / name).string(), state);
    sums.push_back(sum_json(aside / name));
  };
  if (rank == 0) write(kShared, checkpoint.shared);
  write(rank_file(rank), checkpoint.mine);
  return sums.dump();
}

void write_manifest(const fs::path& aside, const Checkpoint& checkpoint,
                    const std::vector<std::string>& sums) {
  Json files = Json::array();
  for (const std::string& each : sums) {
    for (const Json& entry : Json::parse(each)) files.push_back(entry);
  }
  const Json manifest{{"format", kFormat},
                      {"version", kVersion},
                      {"step", checkpoint.step},
                      {"ranks", sums.size()},
                      {"fingerprint", checkpoint.fingerprint},
                      {"files", files}};
  write_text(aside / "manifest.json", manifest.dump(2));
}

/// Picks the newest whole checkpoint on rank 0: its directory name, and sentences about the others.
std::string newest_whole(const fs::path& directory, std::vector<std::string>& notes) {
  for (std::int64_t step : steps_in(directory)) {
    try {
      static_cast<void>(verified_manifest(directory / step_name(step)));
      return step_name(step);
    } catch (const std::exception& error) {
      notes.push_back("passed over a checkpoint: " + std::string(error.what()));
    }
  }
  return {};
}

/// The whole checkpoint in `place`; this rank's own state only when as many ranks wrote it.
Checkpoint read_checkpoint(const fs::path& place, const comm::Control& control,
                           std::vector<std::string>& notes) {
  const Manifest manifest = read_manifest(place / "manifest.json");
  Checkpoint checkpoint;
  checkpoint.step = manifest.step;
  checkpoint.fingerprint = manifest.fingerprint;
  checkpoint.shared = read_state_file((place / kShared).string());
  for (int rank = 0; rank < manifest.ranks; ++rank)
    checkpoint.rank_files.push_back((place / rank_file(rank)).string());
  if (manifest.ranks == control.size()) {
    checkpoint.mine = read_state_file(checkpoint.rank_files[static_cast<std::size_t>(control.rank())]);
  } else {
    notes.push_back("the checkpoint was written by " + std::to_string(manifest.ranks) +
                    " ranks, this run has " + std::to_string(control.size()));
  }
  return checkpoint;
}

}  // namespace

std::string checkpoint_name(std::int64_t step) { return step < 0 ? "" : "checkpoints/" + step_name(step); }

std::string save_checkpoint(const std::string& run_directory, const Checkpoint& checkpoint,
                            const KeepRule& keep, comm::Control& control) {
  const fs::path directory = checkpoints_of(run_directory);
  const fs::path aside = directory / (kAside + step_name(checkpoint.step));
  const bool first = control.rank() == 0;
  try {
    all_or_none(control, [&] {
      if (!first) return;
      fs::remove_all(aside);
      fs::create_directories(aside);
    });
    std::string own_sums;
    all_or_none(control, [&] { own_sums = write_own_files(aside, checkpoint, control.rank()); });
    const std::vector<std::string> sums = control.gather(own_sums);
    all_or_none(control, [&] {
      if (!first) return;
      write_manifest(aside, checkpoint, sums);
      publish(directory, aside, checkpoint.step);
      prune(directory, keep, checkpoint.step);
    });
  } catch (...) {
    std::error_code ignored;
    if (first) fs::remove_all(aside, ignored);
    throw;
  }
  return checkpoint_name(checkpoint.step);
}

std::optional<Checkpoint> load_latest_checkpoint(const std::string& run_directory, comm::Control& control,
                                                 std::vector<std::string>& notes) {
  const fs::path directory = checkpoints_of(run_directory);
  std::string name;
  if (control.rank() == 0) name = newest_whole(directory, notes);
  name = control.broadcast(name);
  if (name.empty()) {
    if (control.maximum(static_cast<double>(notes.size())) == 0) return std::nullopt;
    throw Error(Fault::checkpoint,
                "no checkpoint in '" + directory.string() + "' is whole" +
                    (notes.empty() ? "" : "; " + notes.front()),
                "start again without --resume in another run directory");
  }
  Checkpoint checkpoint;
  all_or_none(control, [&] { checkpoint = read_checkpoint(directory / name, control, notes); });
  return checkpoint;
}

StateMap read_shared_state(const std::string& path) {
  fs::path place = path;
  if (place.filename() == "manifest.json") place = place.parent_path();
  std::error_code unknown;
  if (fs::exists(place / "checkpoints" / "latest", unknown)) place = place / "checkpoints" / "latest";
  static_cast<void>(verified_manifest(place));
  return read_state_file((place / kShared).string());
}

}  // namespace lockstep::trainer
