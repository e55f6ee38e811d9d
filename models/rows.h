// What each row of the tables of models and losses is made from; the tables are in registry.cpp.
#pragma once

#include <memory>
#include <span>

#include "core/options.h"
#include "models/model.h"

namespace lockstep::models {

[[nodiscard]] std::span<const Setting> mlp_settings() noexcept;
[[nodiscard]] std::unique_ptr<Model> make_mlp(const Options& options);

[[nodiscard]] std::span<const Setting> lenet_settings() noexcept;
[[nodiscard]] std::unique_ptr<Model> make_lenet(const Options& options);

[[nodiscard]] std::span<const Setting> cnn_settings() noexcept;
[[nodiscard]] std::unique_ptr<Model> make_cnn(const Options& options);

[[nodiscard]] std::span<const Setting> resnet_settings() noexcept;
[[nodiscard]] std::unique_ptr<Model> make_resnet(const Options& options);

[[nodiscard]] std::span<const Setting> vgg16_settings() noexcept;
[[nodiscard]] std::unique_ptr<Model> make_vgg16(const Options& options);

[[nodiscard]] std::span<const Setting> unet_settings() noexcept;
[[nodiscard]] std::unique_ptr<Model> make_unet(const Options& options);

[[nodiscard]] std::span<const Setting> gpt2_settings() noexcept;
[[nodiscard]] std::unique_ptr<Model> make_gpt2(const Options& options);

[[nodiscard]] std::span<const Setting> softmax_cross_entropy_settings() noexcept;
[[nodiscard]] std::unique_ptr<LossChoice> make_softmax_cross_entropy(const Options& options);

[[nodiscard]] std::unique_ptr<LossChoice> make_mse(const Options& options);

[[nodiscard]] std::span<const Setting> smooth_l1_settings() noexcept;
[[nodiscard]] std::unique_ptr<LossChoice> make_smooth_l1(const Options& options);

}  // namespace lockstep::models
