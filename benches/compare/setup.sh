#!/usr/bin/env bash
# Installs the peers that are missing from Debian's packages, and leaves none of them running or starting by itself: the bench starts its own.
#
# What is there already, and a policy of the machine's own, is left as it is.
set -euo pipefail

policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.d
no_cluster=$clusters/balcao-bench.conf

missing=()
for pair in /usr/bin/redis-server=redis-server /usr/lib/postgresql/15/bin/postgres=postgresql-15 /usr/bin/python3=python3; do
  [ -x "${pair%%=*}" ] || missing+=("${pair##*=}")
done
if [ ${#missing[@]} = 0 ]; then exit 0; fi

root=()
[ "$(id -u)" = 0 ] || root=(sudo)

# Debian starts a service as soon as it is installed, and makes a cluster for PostgreSQL. Neither now.
undo=("rm" "-f" "$no_cluster")
if [ ! -e "$policy" ]; then
  undo+=("$policy")
  printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
  "${root[@]}" chmod 755 "$policy"
fi
trap '"${root[@]}" "${undo[@]}"' EXIT
"${root[@]}" mkdir -p "$clusters"
echo 'create_main_cluster = false' | "${root[@]}" tee "$no_cluster" >/dev/null

"${root[@]}" apt-get update -q
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"

# Nor at the next start of the machine.
if command -v systemctl >/dev/null; then
  for package in "${missing[@]}"; do
    case $package in
      redis-server) "${root[@]}" systemctl disable -q redis-server || true ;;
      postgresql-15) "${root[@]}" systemctl disable -q postgresql || true ;;
    esac
  done
fi
