#include "models/ops/cpu/product.h"

#include <algorithm>

namespace lockstep::models::cpu {
namespace {

onednn::Layout operand(std::int64_t rows, std::int64_t columns, bool transposed) {
  return {{rows, columns}, onednn::Type::bf16, transposed ? onednn::Tag::ba : onednn::Tag::ab};
}

}  // namespace

template <>
Product<float>::Product(const Sizes& sizes) : sizes_(sizes) {}

template <>
Product<Bf16>::Product(const Sizes& sizes) : sizes_(sizes) {
  const auto a = operand(sizes.m, sizes.k, sizes.transpose_a);
  const auto b = operand(sizes.k, sizes.n, sizes.transpose_b);
  const onednn::Layout c({sizes.m, sizes.n}, onednn::Type::f32, onednn::Tag::ab);
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
    onednn::Primitive& product = add ? accumulate_ : overwrite_;
    product = onednn::Primitive(dnnl::matmul(pd), arguments);
    scratch_bytes_ = std::max(scratch_bytes_, pd.scratchpad_desc().get_size());
  }
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
  onednn::Primitive& primitive = add ? accumulate_ : overwrite_;
  primitive.set(DNNL_ARG_SRC, a);
  primitive.set(DNNL_ARG_WEIGHTS, b);
  primitive.set(DNNL_ARG_DST, c);
  primitive.set(DNNL_ARG_SCRATCHPAD, scratch);
  primitive.run();
}

template class Product<float>;
template class Product<Bf16>;

}  // namespace lockstep::models::cpu
