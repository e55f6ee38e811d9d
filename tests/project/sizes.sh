#!/usr/bin/env bash
# sizes.sh MAX_FILE MAX_FUNCTION FOLDER...: no source file and no function is longer than a reader can hold in mind. The aims are 250
# and 25 lines; the limits leave room for a table or a switch. Relies on the formatter: a block ends with a lone '}' and begins at
# the last line before it that is indented as far.
set -euo pipefail
max_file=$1 max_function=$2
shift 2
find "$@" \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) | LC_ALL=C sort | xargs awk -v max_file="$max_file" -v max_function="$max_function" '
  function refuse(where, what, lines, most) { printf "%s: %s of %d lines, at most %d\n", where, what, lines, most; bad = 1 }
  function close_file() { if (length_now > max_file) refuse(file, "a file", length_now, max_file) }
  FNR == 1 { close_file(); file = FILENAME; split("", first) }
  { length_now = FNR; match($0, /^ */); depth = RLENGTH }
  /^(  )?}$/ { if (FNR - first[depth] + 1 > max_function) refuse(FILENAME ":" first[depth], "a function", FNR - first[depth] + 1, max_function) }
  length($0) > depth && !/^ *[})#]/ { first[depth] = FNR }
  END { close_file(); exit bad }'
