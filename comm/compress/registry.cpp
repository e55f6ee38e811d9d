// The table of compressors.
#include "comm/compress/rows.h"
#include "core/error.h"

namespace lockstep::comm {
namespace {

std::unique_ptr<Compressor> no_compressor(const Options&, const CompressorContext&) {
  throw Error(Fault::internal, "'none' and 'auto' stand for compressors, they are none");
}

constexpr CompressorRegistry::Row kNone{"none", "exact sums", {}, no_compressor};
constexpr CompressorRegistry::Row kAuto{
    "auto", "bf16 or int8 where a trial at the start says that it pays", {}, no_compressor};

}  // namespace

const CompressorRegistry& compressors() {
  static const CompressorRegistry::Row rows[] = {
      kNone,     kAuto,       kBf16,     kFp16,    kInt8Row,       kInt4Row,
      kQsgdRow,  kNaturalRow, kEfSign,   kTopKRow, kSharedTopKRow, kRandomKRow,
      kPowerSgd, kSharedGrid, kSignVote, kDgc,     kOneBitAdam};
  static const CompressorRegistry table("compress", rows);
  return table;
}

}  // namespace lockstep::comm
