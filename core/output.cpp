#include "core/output.h"

#include <filesystem>
#include <system_error>

namespace lockstep {

void check_replaceable(const std::string& path, Fault fault) {
  namespace fs = std::filesystem;
  std::error_code unknown;  // whoever writes there tells
  const fs::file_status found = fs::status(path, unknown);
  if (!fs::exists(found) || fs::is_regular_file(found)) return;
  throw Error(fault,
              "'" + path + "' is a " + (fs::is_directory(found) ? "folder" : "device or a pipe") +
                  ", and a file would take its place",
              "name a file");
}

}  // namespace lockstep
