#!/usr/bin/env bash
# slow_link.sh: several "hosts" on this machine with a slow network between them, for trying schedules and compressors where
# communication dominates. Each host is a network namespace with its own name and its own /dev/shm; a token-bucket filter limits
# what it sends and what it receives. Needs root (or the right to make namespaces), iproute2 and Open MPI.
#
#   slow_link.sh [--hosts N] [--ranks-per-host N] [--mbit N] [--check] -- COMMAND...
#
#   --hosts N           how many hosts (2)
#   --ranks-per-host N  slots that mpirun finds on each (1)
#   --mbit N            rate of each host's link, both ways, in Mbit/s (1000); 0: not limited
#   --check             only say whether this machine allows it: exit code 0 or 77, the reason on standard error
#
# COMMAND runs on a login host that reaches the others; mpirun there needs no host file:
#
#   tests/cluster/slow_link.sh --mbit 100 -- mpirun -n 2 build/release/lockstep bench allreduce --min 1M --max 16M
#
# All of it lives in one process namespace: when COMMAND ends or this script is killed, nothing is left.
set -euo pipefail

hosts=2 slots=1 mbit=1000 check=
readonly network=10.77.0 login=10.77.0.254

fail() { echo "slow_link.sh: $1" >&2; exit "${2:-2}"; }

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --hosts) hosts=${2:?} ;;
      --ranks-per-host) slots=${2:?} ;;
      --mbit) mbit=${2:?} ;;
      --check) check=1; shift; continue ;;
      --) shift; command=("$@"); return ;;
      *) fail "unknown option '$1'; see the head of $0" ;;
    esac
    shift 2
  done
  [ -n "$check" ] || fail "no command: write -- and then what to run"
}

# 77 is what ctest takes as "skipped".
require() {
  local tool
  for tool in unshare nsenter ip tc mpirun; do
    command -v "$tool" >/dev/null || fail "'$tool' is not installed (util-linux, iproute2, openmpi-bin)" 77
  done
  unshare --net --mount --uts --pid --fork --mount-proc bash -c '
    mount --make-rprivate / && mount -t tmpfs tmpfs /dev/shm && ip link add switch type bridge &&
    ip link add port1 type veth peer name eth0 && tc qdisc add dev port1 root tbf rate 1mbit burst 128k latency 100ms' 2>/dev/null ||
    fail "this machine does not allow network namespaces with a token-bucket filter (run as root, outside a locked-down container)" 77
}

# Both directions: the host's own queue, and the bridge's queue toward it, each 100 ms long so that TCP fills the link. The bucket holds
# 8 ms of the rate, and at least two of the 64 KiB bursts that the kernel makes.
limit() { # host device
  [ "$mbit" != 0 ] || return 0
  local burst=$((mbit * 1000)) filter
  [ "$burst" -ge 131072 ] || burst=131072
  filter="root tbf rate ${mbit}mbit burst $burst latency 100ms"
  tc -n "$1" qdisc add dev eth0 $filter
  tc qdisc add dev "$2" $filter
}

# A process that owns the host's namespaces; it dies with this script's process namespace.
start_host() { # number
  local name=n$1
  unshare --net --uts --mount bash -c "hostname $name; mount -t tmpfs tmpfs /dev/shm; ip link set lo up
    echo up >$work/$name.up; exec sleep infinity" </dev/null >/dev/null 2>&1 &
  echo $! >"$work/$name.pid"
  until [ -e "$work/$name.up" ]; do sleep 0.01; done
  ip netns attach "$name" "$(cat "$work/$name.pid")"
  ip link add "port$1" type veth peer name eth0 netns "$name"
  ip link set "port$1" master switch up
  ip -n "$name" addr add "$network.$1/24" dev eth0
  ip -n "$name" link set eth0 up
  limit "$name" "port$1"
}

# Names resolve from a private /etc/hosts, and nothing asks a real name server.
name_hosts() {
  { echo "127.0.0.1 localhost"; echo "$login login"; for i in $(seq "$hosts"); do echo "$network.$i n$i"; done; } >"$work/hosts"
  : >"$work/resolv.conf"
  mount --bind "$work/hosts" /etc/hosts
  [ ! -e /etc/resolv.conf ] || mount --bind "$work/resolv.conf" /etc/resolv.conf
  hostname login
}

# What mpirun calls instead of ssh: `agent HOST COMMAND...`; also there as `on`.
make_agent() {
  cat >"$work/agent" <<AGENT
#!/usr/bin/env bash
while [ "\${1#-}" != "\$1" ]; do shift; done
host=\$1
shift
exec nsenter -t "\$(cat "$work/\$host.pid")" --net --uts --mount --wd="\$PWD" /bin/sh -c "\$*"
AGENT
  chmod +x "$work/agent"
  ln -s agent "$work/on"
  for i in $(seq "$hosts"); do echo "n$i slots=$slots"; done >"$work/hostfile"
}

inside() {
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mount --make-rprivate /
  mkdir -p /run/netns
  mount -t tmpfs -o size=1m tmpfs /run/netns
  mount -t tmpfs tmpfs /dev/shm
  ip link set lo up
  name_hosts
  ip link add switch type bridge
  ip link set switch up
  ip addr add "$login/24" dev switch
  for i in $(seq "$hosts"); do start_host "$i"; done
  make_agent
  # btl_tcp_flags=1: Open MPI's default puts large messages of both directions behind one another, half the link.
  export PATH=$work:$PATH OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_plm=rsh \
    OMPI_MCA_plm_rsh_agent="$work/agent" OMPI_MCA_orte_default_hostfile="$work/hostfile" OMPI_MCA_btl=self,vader,tcp \
    OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_btl_tcp_flags=1 OMPI_MCA_oob_tcp_if_include=$network.0/24 \
    OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none
  local code=0
  "${command[@]}" || code=$?
  exit "$code"
}

parse "$@"
if [ -n "${LOCKSTEP_SLOW_LINK:-}" ]; then inside; fi
require
[ -z "$check" ] || exit 0
# --kill-child: when this script dies, so does the first process of the namespace, and with it everything inside.
LOCKSTEP_SLOW_LINK=1 exec unshare --net --mount --uts --pid --fork --kill-child --mount-proc bash "$0" "$@"
