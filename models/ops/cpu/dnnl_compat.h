// The only place that knows oneDNN's versions: 2.x builds a primitive descriptor from an operation
// descriptor, 3.x builds it directly; 2.x exposes the blocking of a layout as a C struct, 3.x through
// queries. Everything else of the folder uses these functions. Include it in .cpp files only.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

namespace lockstep::models::cpu::onednn {

using Dims = dnnl::memory::dims;
using Layout = dnnl::memory::desc;
using Type = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

/// The one CPU engine of the process.
inline const dnnl::engine& engine() {
  static const dnnl::engine only(dnnl::engine::kind::cpu, 0);
  return only;
}

/// A convolution as oneDNN states it: oneDNN counts dilations from 0 and takes padding per side.
struct ConvolutionShape {
  Layout source, weights, bias, destination;  ///< bias: zero when there is none
  Dims strides, dilations, padding_low, padding_high;
};

/// How a blocked layout places elements: outer strides per axis, then inner blocks (size, axis) from
/// outermost to innermost.
struct Blocking {
  Dims dims, padded, strides;
  std::vector<std::pair<std::int64_t, int>> inner;
};

inline dnnl::convolution_forward::primitive_desc convolution_forward(const ConvolutionShape& c,
                                                                     const dnnl::primitive_attr& attributes) {
  constexpr auto kind = dnnl::prop_kind::forward_training;
  constexpr auto direct = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {engine(),      kind,      direct,      c.source,      c.weights,      c.bias,
          c.destination, c.strides, c.dilations, c.padding_low, c.padding_high, attributes};
#else
  return {{kind, direct, c.source, c.weights, c.bias, c.destination, c.strides, c.dilations, c.padding_low,
           c.padding_high},
          attributes,
          engine()};
#endif
}

inline dnnl::convolution_backward_data::primitive_desc convolution_backward_data(
    const ConvolutionShape& c, const dnnl::primitive_attr& attributes,
    const dnnl::convolution_forward::primitive_desc& forward) {
  constexpr auto direct = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {engine(),    direct,        c.source,       c.weights, c.destination, c.strides,
          c.dilations, c.padding_low, c.padding_high, forward,   attributes};
#else
  return {{direct, c.source, c.weights, c.destination, c.strides, c.dilations, c.padding_low, c.padding_high},
          attributes,
          engine(),
          forward};
#endif
}

inline dnnl::convolution_backward_weights::primitive_desc convolution_backward_weights(
    const ConvolutionShape& c, const dnnl::primitive_attr& attributes,
    const dnnl::convolution_forward::primitive_desc& forward) {
  constexpr auto direct = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {engine(),  direct,      c.source,      c.weights,      c.bias,  c.destination,
          c.strides, c.dilations, c.padding_low, c.padding_high, forward, attributes};
#else
  return {{direct, c.source, c.weights, c.bias, c.destination, c.strides, c.dilations, c.padding_low,
           c.padding_high},
          attributes,
          engine(),
          forward};
#endif
}

inline dnnl::matmul::primitive_desc matmul(const Layout& left, const Layout& right, const Layout& product,
                                           const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), left, right, product, attributes};
#else
  return {{left, right, product}, attributes, engine()};
#endif
}

/// Post-operation leaky ReLU (slope 0: ReLU).
inline void append_relu(dnnl::post_ops& operations, float slope) {
#if DNNL_VERSION_MAJOR >= 3
  operations.append_eltwise(dnnl::algorithm::eltwise_relu, slope, 0.0F);
#else
  operations.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, slope, 0.0F);
#endif
}

inline Blocking blocking_of(const Layout& layout) {
  Blocking found;
#if DNNL_VERSION_MAJOR >= 3
  found.dims = layout.get_dims();
  found.padded = layout.get_padded_dims();
  found.strides = layout.get_strides();
  const Dims blocks = layout.get_inner_blks();
  const Dims axes = layout.get_inner_idxs();
  for (std::size_t i = 0; i < blocks.size(); ++i)
    found.inner.emplace_back(blocks[i], static_cast<int>(axes[i]));
#else
  const auto& data = layout.data;
  const auto& blocking = data.format_desc.blocking;
  found.dims.assign(data.dims, data.dims + data.ndims);
  found.padded.assign(data.padded_dims, data.padded_dims + data.ndims);
  found.strides.assign(blocking.strides, blocking.strides + data.ndims);
  for (int i = 0; i < blocking.inner_nblks; ++i)
    found.inner.emplace_back(blocking.inner_blks[i], static_cast<int>(blocking.inner_idxs[i]));
#endif
  return found;
}

/// True when the layout is plain strides and blocks, which is all that Blocking can say.
inline bool is_blocked(const Layout& layout) {
#if DNNL_VERSION_MAJOR >= 3
  return layout.get_format_kind() == dnnl::memory::format_kind::blocked;
#else
  return layout.data.format_kind == dnnl_blocked && layout.data.extra.flags == 0;
#endif
}

}  // namespace lockstep::models::cpu::onednn
