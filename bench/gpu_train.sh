#!/usr/bin/env bash
# gpu_train.sh PROGRAM FOLDER WHAT [RANKS] [KEY=VALUE...]: trains on GPUs, one rank a GPU, and prints what a run's summary says.
# WHAT is a speed run on noise of the real shape (gpt2, resnet50) or a recipe trained to its end on its data in FOLDER
# (fashion: fashion.h5, cifar: cifar10.h5, shakespeare: shakespeare.h5). Run it in the repository; runs and noise go to FOLDER.
#   bench/gpu_train.sh build/cuda/lockstep /tmp/gpu gpt2 1
#   bench/gpu_train.sh build/cuda/lockstep /tmp/gpu resnet50 2 train.steps=200
set -euo pipefail
program=$(realpath "$1") folder=$2 what=$3 ranks=${4:-1}
shift $(($# < 4 ? $# : 4))
mkdir -p "$folder"

# noise NAME ARGUMENTS...: makes FOLDER/NAME.h5 once.
noise() {
  local name=$1
  shift
  [ -e "$folder/$name.h5" ] || "$program" data generate "$@" --compression 0 --output "$folder/$name.h5" >&2
}

speed="train.steps=80 rate.warmup_steps=10 run.log_every=10 checkpoint.best=false eval.microbatches=2 device=cuda"
case $what in
  gpt2)
    noise noise_tokens noise_tokens --train 20000000 --validation 300000
    recipe=configs/gpt2_124m.yaml
    settings="data.files=[$folder/noise_tokens.h5] batch.global=0 batch.per_rank=32 batch.microbatch=32 eval.every_steps=0 $speed" ;;
  resnet50)
    noise noise_images noise_images --train 8192 --test 512
    recipe=configs/imagenet_resnet50.yaml
    settings="data.files=[$folder/noise_images.h5] data.crop=none data.threads=12 batch.microbatch=256 train.epochs=0
      train.precision=bf16 eval.split=test eval.every_steps=0 $speed" ;;
  fashion) recipe=configs/fashion_cnn.yaml settings="data.files=[$folder/fashion.h5]" ;;
  cifar) recipe=configs/cifar_resnet20.yaml settings="data.files=[$folder/cifar10.h5]" ;;
  shakespeare)
    recipe=configs/shakespeare_char_gpt.yaml
    settings="data.files=[$folder/shakespeare.h5] data.context=256 model.gpt2.layers=6 model.gpt2.heads=6 model.gpt2.width=384
      model.gpt2.dropout=0.2 batch.global=64 train.steps=5000 rate.peak=1e-3 rate_shape.cosine.final=0.1 train.precision=bf16" ;;
  *) sed -n 2,7p "$0"; exit 2 ;;
esac

run=$folder/run-$what-$ranks
rm -rf "$run"
words=()
for setting in $settings device=cuda "$@"; do words+=(--set "$setting"); done
launch=()
[ "$ranks" = 1 ] || launch=(mpirun --allow-run-as-root --bind-to none -n "$ranks")
"${launch[@]}" "$program" train "$recipe" --run-dir "$run" "${words[@]}"
cat "$run/summary.json"
