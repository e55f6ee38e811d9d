#include "models/ops/cpu/product.h"

#include <algorithm>
#include <utility>

namespace lockstep::models::cpu {
namespace {

/// oneDNN 2.6's AMX kernel meets an illegal instruction at this k alone (oneDNN issue 1661): it is then
/// summed in two parts.
constexpr std::int64_t kBadDepth = 63;
constexpr std::int64_t kGoodDepth = 32;

/// A part of [rows, columns], stored row by row or, transposed, column by column at this distance.
onednn::Layout operand(std::int64_t rows, std::int64_t columns, bool transposed, std::int64_t distance) {
  const onednn::Dims strides = transposed ? onednn::Dims{1, distance} : onednn::Dims{distance, 1};
  return {{rows, columns}, onednn::Type::bf16, strides};
}

}  // namespace

template <>
Product<float>::Product(const Sizes& sizes) : sizes_(sizes) {}

template <>
void Product<Bf16>::add_part(std::int64_t first, std::int64_t k) {
  const auto& s = sizes_;
  const auto a = operand(s.m, k, s.transpose_a, s.transpose_a ? s.m : s.k);
  const auto b = operand(k, s.n, s.transpose_b, s.transpose_b ? s.k : s.n);
  const onednn::Layout c({s.m, s.n}, onednn::Type::f32, onednn::Tag::ab);
  Part part{.first = first, .overwrite = {}, .accumulate = {}};
  for (const bool add : {false, true}) {
    dnnl::primitive_attr attributes = onednn::attributes();
    if (add) {
      dnnl::post_ops sum;
      sum.append_sum(1.0F);
      attributes.set_post_ops(sum);
    }
    const auto pd = onednn::matmul(a, b, c, attributes);
    const std::vector<onednn::Primitive::Argument> arguments{{DNNL_ARG_SRC, a},
                                                             {DNNL_ARG_WEIGHTS, b},
                                                             {DNNL_ARG_DST, c},
                                                             {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}};
    (add ? part.accumulate : part.overwrite) = onednn::Primitive(dnnl::matmul(pd), arguments);
    scratch_bytes_ = std::max(scratch_bytes_, pd.scratchpad_desc().get_size());
  }
  parts_.push_back(std::move(part));
}

template <>
Product<Bf16>::Product(const Sizes& sizes) : sizes_(sizes) {
  const std::int64_t first = sizes.k == kBadDepth ? kGoodDepth : sizes.k;
  add_part(0, first);
  if (first < sizes.k) add_part(first, sizes.k - first);
}

template <class T>
std::size_t Product<T>::scratch_bytes() const noexcept {
  return scratch_bytes_;
}

template <>
void Product<float>::run(const float* a, const float* b, float* c, bool add, void*) {
  const auto& s = sizes_;
  dnnl_sgemm(s.transpose_a ? 'T' : 'N', s.transpose_b ? 'T' : 'N', s.m, s.n, s.k, 1.0F, a,
             s.transpose_a ? s.m : s.k, b, s.transpose_b ? s.k : s.n, add ? 1.0F : 0.0F, c, s.n);
}

template <>
void Product<Bf16>::run(const Bf16* a, const Bf16* b, float* c, bool add, void* scratch) {
  const auto& s = sizes_;
  for (Part& part : parts_) {
    onednn::Primitive& primitive = add || part.first > 0 ? part.accumulate : part.overwrite;
    primitive.set(DNNL_ARG_SRC, a + part.first * (s.transpose_a ? s.m : 1));
    primitive.set(DNNL_ARG_WEIGHTS, b + part.first * (s.transpose_b ? 1 : s.n));
    primitive.set(DNNL_ARG_DST, c);
    primitive.set(DNNL_ARG_SCRATCHPAD, scratch);
    primitive.run();
  }
}

template class Product<float>;
template class Product<Bf16>;

}  // namespace lockstep::models::cpu
