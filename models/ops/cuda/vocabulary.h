// How matrices with a row or a column per token of a vocabulary are stored: GPT-2's 50,257 is a bad size for
// matrix products, so rows of the embedding and columns of the logits are padded with zeros.
#pragma once

#include <cstdint>

#include "core/storage.h"
#include "models/ops/kernel.h"

namespace lockstep::models::cuda {

/// The vocabulary with its padding: a multiple of 128, the tile of the products.
[[nodiscard]] std::int64_t padded_vocabulary(std::int64_t vocabulary);

/// Rows of the embedding [vocabulary, width], then rows of zeros; null where nothing is padded.
[[nodiscard]] StorageOrderPtr padded_embedding(std::int64_t vocabulary, std::int64_t width);

/// Logits [..., vocabulary] with padded rows; the padding's content does not matter to who reads logits, and
/// is zero in their gradients.
[[nodiscard]] TensorLayout padded_logits(const Shape& shape, Dtype dtype);

/// Elements from row to row of a tensor whose rows may be padded.
[[nodiscard]] std::int64_t row_step(const TensorLayout& layout);
/// True for logits that padded_logits() laid out.
[[nodiscard]] bool is_padded_logits(const TensorLayout& layout);

}  // namespace lockstep::models::cuda
