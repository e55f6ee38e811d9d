// Where finished files go: they are written aside and renamed, so whatever stands at their place is lost.
#pragma once

#include <string>

#include "core/error.h"

namespace lockstep {

/// Throws `fault` when a folder, a device or a pipe stands at `path`: a file must not take its place. Looks
/// only; a file, a link to one, or nothing there is fine.
void check_replaceable(const std::string& path, Fault fault);

}  // namespace lockstep
