// Checks the arguments once for all devices, then hands over to the kernels of the stream's device.
#include "core/vector/vector.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "core/backends.h"
#include "core/error.h"
#include "core/vector/kernels.h"

namespace lockstep::vector {

namespace {

constexpr std::initializer_list<Dtype> kFloats = {Dtype::f64, Dtype::f32, Dtype::bf16, Dtype::f16};
constexpr std::initializer_list<Dtype> kSummable = {Dtype::f64, Dtype::f32, Dtype::bf16,
                                                    Dtype::f16, Dtype::i64, Dtype::i32};

std::string text_of(FlatSpan span) {
  return std::to_string(span.count) + " " + std::string(name_of(span.dtype)) + " on " + name_of(span.device);
}

void require(bool right, const char* operation, std::initializer_list<FlatSpan> spans) {
  if (right) return;
  std::string what = std::string("vector::") + operation + " cannot work on";
  for (const char* separator = " "; const FlatSpan& span : spans) {
    what += separator + text_of(span);
    separator = " and ";
  }
  throw Error(Fault::internal, what);
}

bool among(Dtype dtype, std::initializer_list<Dtype> dtypes) {
  return std::find(dtypes.begin(), dtypes.end(), dtype) != dtypes.end();
}

/// One or more arrays of one dtype and count on the stream's device.
bool alike(std::initializer_list<FlatSpan> spans, const Stream& stream) {
  const FlatSpan& model = *spans.begin();
  return std::all_of(spans.begin(), spans.end(), [&](const FlatSpan& span) {
    return span.dtype == model.dtype && span.count == model.count && span.device == stream.device();
  });
}

bool one_result(FlatSpan result, Dtype dtype, const Stream& stream) {
  return result.dtype == dtype && result.count == 1 && result.device == stream.device();
}

const Kernels& kernels(const Stream& stream) { return *backend_of(stream.device()).kernels; }

}  // namespace

void fill(FlatSpan x, float value, Stream& stream) {
  require(alike({x}, stream), "fill", {x});
  kernels(stream).fill(x, value, stream);
}

void cast(FlatSpan from, FlatSpan to, Stream& stream) {
  const bool convertible = from.dtype == to.dtype || (among(from.dtype, kFloats) && among(to.dtype, kFloats));
  const bool right = convertible && from.count == to.count && alike({from}, stream) && alike({to}, stream);
  require(right, "cast", {from, to});
  kernels(stream).cast(from, to, stream);
}

void add(FlatSpan x, FlatSpan y, Stream& stream) { sum(x, y, y, stream); }

void sum(FlatSpan left, FlatSpan right, FlatSpan out, Stream& stream) {
  require(among(out.dtype, kSummable) && alike({left, right, out}, stream), "sum", {left, right, out});
  kernels(stream).sum(left, right, out, stream);
}

void axpy(float factor, FlatSpan x, FlatSpan y, Stream& stream) {
  require(x.dtype == Dtype::f32 && alike({x, y}, stream), "axpy", {x, y});
  kernels(stream).axpy(factor, x, y, stream);
}

void scale(float factor, FlatSpan x, Stream& stream) {
  require(x.dtype == Dtype::f32 && alike({x}, stream), "scale", {x});
  kernels(stream).scale(factor, x, stream);
}

void sum_of_squares(FlatSpan x, FlatSpan result, Stream& stream) {
  const bool right = among(x.dtype, kFloats) && alike({x}, stream) && one_result(result, Dtype::f64, stream);
  require(right, "sum_of_squares", {x, result});
  kernels(stream).sum_of_squares(x, result, stream);
}

void count_nonfinite(FlatSpan x, FlatSpan result, Stream& stream) {
  const bool right = among(x.dtype, kFloats) && alike({x}, stream) && one_result(result, Dtype::i64, stream);
  require(right, "count_nonfinite", {x, result});
  kernels(stream).count_nonfinite(x, result, stream);
}

}  // namespace lockstep::vector
