#include "comm/compress/remembered.h"

#include <cstring>

#include "comm/compress/kernels.h"

namespace lockstep::comm {

Remembered::Remembered(Verdict verdict, Dtype dtype, std::int64_t count)
    : verdict_(std::move(verdict)),
      settled_(make_array(verdict_->span.device, dtype, count)),
      current_(make_array(verdict_->span.device, dtype, count)) {}

void Remembered::settle(Stream& stream) {
  if (settled_.span.count == 0) return;
  compress_kernels(stream.device()).settle(settled_.span, current_.span, verdict_->span, stream);
}

FlatSpan Remembered::standing() const {
  if (settled_.span.count == 0) return {};
  std::int32_t accepted = 0;
  copy_to_host(verdict_->span, &accepted);
  return accepted != 0 ? current_.span : settled_.span;
}

}  // namespace lockstep::comm
