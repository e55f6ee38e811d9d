#!/usr/bin/env bash
# slow_link_test.sh SLOW_LINK LOCKSTEP: the emulated link is as slow as asked, in both directions at once, and the sums that cross it
# are right.
set -euo pipefail
slow_link=$1 lockstep=$2
"$slow_link" --check

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
megabit_per_s() { # rate: what a ring of two ranks reaches; it sends its whole array, and receives as much, in the time
  "$slow_link" --hosts 2 --mbit "$1" -- mpirun -n 2 "$lockstep" bench allreduce --min 1M --max 1M --schedule ring \
    --iterations 3 --warmup 1 --json "$work/ring.json" >/dev/null
  grep -q '"wrong": 0' "$work/ring.json" || { echo "wrong sums over the link" >&2; exit 1; }
  awk -F'[:,]' '/"min_us"/ { printf "%d", 1048576 * 8 / $2 }' "$work/ring.json"
}

limited=$(megabit_per_s 200)
free=$(megabit_per_s 0)
echo "asked for 200 Mbit/s: $limited Mbit/s each way; not limited: $free Mbit/s"
# A token bucket lets its burst through at once, and TCP may fill a short transfer badly: from half to a little above the rate.
[ "$limited" -ge 90 ] && [ "$limited" -le 260 ]
# The control: without the filter the same sum is several times faster, so it is the filter that was measured.
[ "$free" -ge $((2 * limited)) ]

code=0
"$slow_link" --mbit 0 -- bash -c 'exit 7' || code=$?
[ "$code" = 7 ] || { echo "the command's exit code 7 became $code" >&2; exit 1; }
