#!/usr/bin/env bash
# Installs what the tests need on a bare Debian 12, as root: packages, and virtualenvs below
# target/ for the FastAPI apps and for foreign clients of varlink, sd_notify and /metrics. Run it again at
# any time: what is there is not touched.
#
# What it cannot install is no error here: a test that misses a tool says so and is skipped, or
# fails where RINIT_TEST_REQUIRE=all is set.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  docker.io        # dockerd, containerd, runc and a client: the Docker tests
  podman runc      # the same by somebody else
  debootstrap      # the base image of the Docker tests
  busybox-static   # a shell and tools for small images
  tini dumb-init   # peers: the same scenario against them
  python3 python3-venv
  systemd          # systemd-notify, for the tests of readiness; nothing of it is started
  nodejs nginx redis-server # what the example units run
  util-linux       # unshare: tests as PID 1 of a namespace
  git              # git-daemon, which was made for inetd: Accept=yes
  wrk              # a second opinion on throughput in benches/workers
  procps
  qemu-system-x86 cpio # the VM tests
  chromium-headless-shell # the status page in a real browser
  xxd              # the hash of its style
  haproxy openssl  # the proxy in front of units/haproxy-tls
)
# Its kernel is only unpacked: below target/.
kernel_package=linux-image-cloud-amd64
kernel=target/vm-kernel
venv=target/fastapi-venv
# The second has the first in it, and the servers that rinit is compared with.
requirements=(integration/apps/fastapi{,-workers}/requirements.txt)

# A foreign client for each protocol that rinit speaks: virtualenv and package.
foreign=(
  'target/varlink-venv varlink==31.0.0'
  'target/sdnotify-venv sdnotify==0.3.2'
  'target/prometheus-venv prometheus-client==0.26.0'
)

say() { printf 'setup: %s\n' "$*"; }

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
      printf '%s\n' "$package"
  done
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  if [ "${#missing[@]}" -eq 0 ]; then
    say "packages: all ${#packages[@]} are there"
    return
  fi
  say "packages: installing ${missing[*]}"
  apt-get update -qq
  # No daemon may start by itself: the tests start their own. This is what packages ask.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The stamp names what the virtualenv was made from, so a changed pin or interpreter makes it anew.
stamp() {
  python3 --version
  sha256sum "${requirements[@]}"
}

install_python_packages() {
  if [ -x "$venv/bin/gunicorn" ] && [ "$(cat "$venv/stamp" 2>/dev/null)" = "$(stamp)" ]; then
    say "virtualenv: $venv is up to date"
    return
  fi
  say "virtualenv: making $venv"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "${requirements[1]}"
  stamp >"$venv/stamp"
}

install_foreign() {
  local venv="$1" package="$2" wanted
  wanted="$(python3 --version) $package"
  if [ "$(cat "$venv/stamp" 2>/dev/null)" = "$wanted" ]; then
    say "virtualenv: $venv is up to date"
    return
  fi
  say "virtualenv: making $venv"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$package"
  printf '%s\n' "$wanted" >"$venv/stamp"
}

unpack_kernel() {
  if ls "$kernel"/boot/vmlinuz-* >/dev/null 2>&1; then
    say "kernel: $kernel is there"
    return
  fi
  local package
  package=$(apt-cache depends "$kernel_package" 2>/dev/null | awk '$1 == "Depends:" { print $2; exit }')
  if [ -z "$package" ]; then
    say "kernel: no package $kernel_package here: the VM tests have none"
    return
  fi
  say "kernel: unpacking $package"
  rm -rf "$kernel"
  mkdir -p "$kernel"
  (cd "$kernel" && apt-get download -qq "$package" && dpkg-deb -x "$package"_*.deb . &&
    rm -rf "$package"_*.deb lib usr) || say "kernel: $package could not be unpacked"
}

if ! command -v apt-get >/dev/null; then
  say "no apt-get here: install these yourself: ${packages[*]}"
elif [ "$(id -u)" -ne 0 ]; then
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -eq 0 ] || say "not root, so not installed: ${missing[*]}"
else
  install_packages
fi
install_python_packages
for pair in "${foreign[@]}"; do
  # shellcheck disable=SC2086 # two words
  install_foreign $pair
done
unpack_kernel
say "done"
