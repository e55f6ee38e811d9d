#!/usr/bin/env bash
# Negative control: the layering check must refuse a tree with one sideways include.
set -eu
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{core,comm,data,models,trainer}
"$1" "$tree"
echo '#include "models/graph.h"' >"$tree/data/wrong.h"
! "$1" "$tree" >/dev/null
