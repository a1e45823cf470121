#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds the Debian package, installs it into a new, minimal Debian (debootstrap, in a folder) and
# runs it there: alone, on two ranks, by recipe name; then removes it. Needs root and Debian's
# mirror; some 600 MB. Exit code 77: can't be done here.
# usage: bash scripts/packaging/check_deb.sh [BUILD]
set -euo pipefail
. "$(dirname "$0")/../environment.sh"
build=${1:-$SOURCE/build}
[ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null || {
    echo "skipped: needs root and debootstrap"
    exit 77
}
(cd "$build" && rm -f ./*.deb && cpack -G DEB >cpack.log) || { cat "$build/cpack.log" && exit 1; }
package=$(echo "$build"/sw2_*.deb)

root=$(mktemp -d)
clean_up() {
    umount "$root/proc" "$root/dev/shm" 2>/dev/null || true
    rm -rf --one-file-system "$root"
}
trap clean_up EXIT
. /etc/os-release
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
    sed -n -E 's/^(URIs:|deb) *([^ ]*:[^ ]*debian)( .*|\/?$)/\2/p' | sed -n 1p || true)
debootstrap --variant=minbase "$VERSION_CODENAME" "$root" \
    "${mirror:-http://deb.debian.org/debian}" >"$build/debootstrap.log" 2>&1 || {
    tail "$build/debootstrap.log"
    exit 77
}
cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/" # a proxy, if there is one
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm" && mount -t tmpfs shm "$root/dev/shm"
cp "$package" "$root/tmp/sw2.deb"

in_root() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
        DEBIAN_FRONTEND=noninteractive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
        OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none "$@"
}
in_root apt-get -qq update
in_root apt-get -qq install -y --no-install-recommends /tmp/sw2.deb >"$build/install.log" 2>&1 ||
    { tail -n 20 "$build/install.log" && exit 1; }
echo "installed: $(in_root dpkg-query -W -f '${Package} ${Version}, ${Installed-Size} KiB' sw2)"
for program in $(in_root dpkg -L sw2 | grep '^/usr/bin/'); do
    in_root "$program" --version
done
in_root sw2-train --quiet --out /tmp/one
in_root mpirun -q -np 2 sw2-train digits --quiet -O /tmp/two
in_root sw2-eval /tmp/two/checkpoints/best.h5 >/dev/null
in_root sw2-predict /tmp/one/checkpoints digits.h5:/test --out /dev/null
in_root sw2-train fashion --plan >"$build/plan.log" 2>&1 || true # its data set is not there
grep -q '/usr/share/sw2/recipes/fashion.yaml\|no data file' "$build/plan.log" || {
    cat "$build/plan.log"
    exit 1
}
digests() { tail -n 1 "$root/tmp/$1/metrics.csv" | grep -o '[0-9a-f]\{16\}-[0-9a-f]\{16\}'; }
[ "$(digests one)" = "$(digests two)" ] || { echo "FAILED: one rank and two differ" && exit 1; }
in_root apt-get -qq remove -y sw2 >/dev/null
left=$(find "$root/usr" -path '*sw2*' -not -path '*/__pycache__*')
[ -z "$left" ] || { echo "FAILED: removing left $left" && exit 1; }
echo "the package installs, runs and goes in a clean $PRETTY_NAME"
