// The tables of models and losses.
#include "models/rows.h"

namespace lockstep::models {

const Registry<Model>& models() {
  using Row = Registry<Model>::Row;
  static const Row rows[] = {
      {"mlp", "hidden linear layers with ReLU, on anything flattened", mlp_settings(), make_mlp},
      {"lenet", "LeNet-5: two 5x5 convolutions and three linear layers", lenet_settings(), make_lenet},
      {"cnn", "small image classifier: 3x3 convolutions, batch norm, pooling", cnn_settings(), make_cnn},
      {"resnet", "residual networks for CIFAR (20 ... 110) and ImageNet (18 ... 152)", resnet_settings(),
       make_resnet},
      {"vgg16", "VGG-16, with or without batch norm: 138 M parameters", vgg16_settings(), make_vgg16},
      {"unet", "field to field: super-resolution, or a label for each pixel", unet_settings(), make_unet},
      {"gpt2", "decoder-only transformer: GPT-2, 124M to 1558M or any size", gpt2_settings(), make_gpt2},
  };
  static const Registry<Model> table("model", rows);
  return table;
}

const Registry<LossChoice>& losses() {
  using Row = Registry<LossChoice>::Row;
  static const Row rows[] = {
      {"softmax_cross_entropy", "for classes, tokens and pixel labels", softmax_cross_entropy_settings(),
       make_softmax_cross_entropy},
      {"mse", "mean squared error, for fields and numbers", {}, make_mse},
      {"smooth_l1", "squared near zero, absolute beyond: for fields with outliers", smooth_l1_settings(),
       make_smooth_l1},
  };
  static const Registry<LossChoice> table("loss", rows);
  return table;
}

}  // namespace lockstep::models
