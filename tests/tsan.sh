#!/usr/bin/env bash
# Builds libzmq and czmq of this system from Debian's source with ThreadSanitizer, into a
# folder: what orders their threads is then seen, and correct code is not reported.
#   tests/tsan.sh FOLDER      prints FOLDER/lib/pkgconfig
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd)
flags="-fsanitize=thread -O1 -g -fno-omit-frame-pointer"

# fetch PACKAGE INSTALLED: the source that the installed package was built from. The lists of
# sources are the folder's own: nothing of the system's apt is changed.
fetch() {
    local version
    version=$(dpkg-query -W -f '${source:Version}' "$2")
    mkdir -p lists/partial cache
    [ -f sources.list ] || {
        cat >sources.list <<'LIST'
deb-src http://deb.debian.org/debian bookworm main
deb-src http://deb.debian.org/debian bookworm-updates main
deb-src http://deb.debian.org/debian-security bookworm-security main
LIST
        apt-get "${apt[@]}" update -qq
    }
    apt-get "${apt[@]}" source -qq "$1=$version"
}

apt=(-o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache"
    -o APT::Sandbox::User=root)

# make SOURCE ARGUMENTS...
make_library() {
    local source=$1
    shift
    PKG_CONFIG_PATH=$folder/lib/pkgconfig cmake -S "$source" -B "build-$source" -G Ninja \
        -DCMAKE_BUILD_TYPE=None "-DCMAKE_C_FLAGS=$flags" "-DCMAKE_CXX_FLAGS=$flags" \
        "-DCMAKE_SHARED_LINKER_FLAGS=-fsanitize=thread" -DCMAKE_INSTALL_PREFIX="$folder" \
        -DCMAKE_INSTALL_LIBDIR=lib -DBUILD_STATIC=OFF -DBUILD_TESTS=OFF \
        -DCZMQ_BUILD_STATIC=OFF "$@"
    cmake --build "build-$source"
    cmake --install "build-$source"
}

cd "$folder"
{
    if [ ! -f lib/libzmq.so ]; then
        fetch zeromq3 libzmq5
        make_library "$(basename zeromq3-*/)" -DENABLE_CURVE=ON -DWITH_LIBSODIUM=ON \
            -DWITH_PERF_TOOL=OFF -DWITH_DOCS=OFF -DENABLE_CPACK=OFF
    fi
    if [ ! -f lib/libczmq.so ]; then
        fetch czmq libczmq4
        make_library "$(basename czmq-*/)" -DENABLE_DRAFTS=OFF
    fi
} >&2
echo "$folder/lib/pkgconfig"
