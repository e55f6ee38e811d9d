// What `lockstep data info FILE` prints: everything in an HDF5 file, ours or foreign.
#pragma once

#include <string>

namespace lockstep::data {

/// Groups, datasets (type, shape, layout, filters, sizes), attributes; class counts of labels. Reads every
/// dataset of numbers to the end, so damaged data is reported. Throws Fault::data naming the file when it
/// cannot be opened; datasets that cannot be read are reported in their line.
[[nodiscard]] std::string describe_file(const std::string& path);

/// "1.10.8": the HDF5 library that the program runs with.
[[nodiscard]] std::string hdf5_version();

}  // namespace lockstep::data
