// Rows of the table of compressors, each defined in the file of its part.
#pragma once

#include "comm/compress/compressor.h"

namespace lockstep::comm {

extern const CompressorRegistry::Row kBf16, kFp16, kInt8Row, kInt4Row, kQsgdRow, kEfSign, kNaturalRow;
extern const CompressorRegistry::Row kTopKRow, kSharedTopKRow, kRandomKRow, kPowerSgd, kSharedGrid, kSignVote,
    kDgc, kOneBitAdam;

}  // namespace lockstep::comm
