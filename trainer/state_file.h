// A StateMap as an HDF5 file: one dataset per key, scopes become groups. Written whole, flushed to the disk,
// and summed (CRC-32) so that damage is found before anything is loaded.
#pragma once

#include <cstdint>
#include <string>

#include "core/state.h"

namespace lockstep::trainer {

/// What a manifest remembers of a file.
struct FileSum {
  std::int64_t bytes = 0;
  std::uint32_t crc = 0;
  friend bool operator==(const FileSum&, const FileSum&) = default;
};

/// Writes and syncs. Throws Fault::checkpoint naming the file and the system's reason (disk full,
/// unwritable).
void write_state_file(const std::string& path, const StateMap& state);
/// Throws Fault::checkpoint naming the file.
[[nodiscard]] StateMap read_state_file(const std::string& path);
/// Size and CRC-32 of the file's bytes. Throws Fault::checkpoint when it cannot be read.
[[nodiscard]] FileSum sum_file(const std::string& path);
/// Makes sure that a file's or a directory's content is on the disk. Throws Fault::checkpoint.
void sync_path(const std::string& path);

}  // namespace lockstep::trainer
