#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Packs bavard for each system it is released for, into bin/release.
set -euo pipefail
: "${GO:=go}"
version=$(<VERSION)
out=bin/release
rm -rf "$out"
mkdir -p "$out"
for target in linux/amd64 linux/arm64 darwin/arm64; do
	os=${target%/*} arch=${target#*/}
	name=bavard-$version-$os-$arch
	mkdir "$out/$name"
	CGO_ENABLED=0 GOOS=$os GOARCH=$arch "$GO" build -buildvcs=auto -trimpath -ldflags '-s -w' -o "$out/$name/bavard" .
	cp LICENSE README.md CHANGELOG.md bavard.toml "$out/$name/"
	# The same input gives the same archive: no time, no owner of this machine.
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime='2026-01-01 00:00Z' -C "$out" -cf - "$name" | gzip -n >"$out/$name.tar.gz"
	rm -r "${out:?}/$name"
done
(cd "$out" && sha256sum ./*.tar.gz >SHA256SUMS && cat SHA256SUMS)
