#!/bin/sh
# What needs a GPU, on a machine that has PyTorch for CUDA, no network and nothing of this project,
# in calls of a few minutes each. CONTRIBUTING.md says in which order.
#
#   here:   benchmarks/borrowed_gpu.sh pack DATA TEACHERS    packages and data into .gpu/
#   there:  benchmarks/borrowed_gpu.sh tests
#           benchmarks/borrowed_gpu.sh throughput
#           benchmarks/borrowed_gpu.sh recipes MINUTES [ITEM]
#
# DATA holds CIFAR, or a script unpack.py that makes it (--out FOLDER) of what lies beside it. It is
# packed into parts of at most $PART_MIB (52) MiB, .gpu/part-1 and so on, since not everything may
# travel at once: a call takes what has come so far. A call there wants .gpu/wheels and the new parts
# beside the checkout, and leaves what is to come back under $OUT, in files of at most 15 MiB.

set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
here=.venv/bin/python
place=${PLACE:-/tmp/compress-gpu}

# Packages that images with PyTorch mostly lack; for the Python of the machine there.
lacking='pydantic pydantic-core annotated-types typing-inspection typing-extensions'

pack() {
    packages=$(required)
    rm -rf .gpu
    mkdir -p .gpu/wheels
    "$here" -m pip download -q --no-deps --only-binary=:all: --python-version "${THERE:-3.12}" \
        --implementation cp --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
        -d .gpu/wheels $packages
    part=1 bytes=0 most=$((${PART_MIB:-52} * 1048576))
    for folder in "$2" "$1"; do
        below=.
        [ "$folder" = "$1" ] || below=teachers
        # what lies on top first: the script, and what every call needs
        { (cd "$folder" && find . -maxdepth 1 -name unpack.py)
          (cd "$folder" && find . -maxdepth 1 -type f ! -name unpack.py | sort)
          (cd "$folder" && find . -mindepth 2 -type f | sort)
        } | while read -r file; do
            size=$(wc -c <"$folder/$file")
            if [ $bytes -gt 0 ] && [ $((bytes + size)) -gt $most ]; then
                part=$((part + 1)) bytes=0
            fi
            bytes=$((bytes + size))
            mkdir -p ".gpu/part-$part/$below/$(dirname "$file")"
            cp "$folder/$file" ".gpu/part-$part/$below/$file"
            echo "$part $bytes" >.gpu/packed
        done
        [ ! -f .gpu/packed ] || read -r part bytes <.gpu/packed
    done
    rm .gpu/packed
    du -sm .gpu/*
}

# The versions this checkout is developed with.
required() {
    for name in $lacking; do
        "$here" -c 'import sys
from importlib.metadata import version
print(sys.argv[1] + "==" + version(sys.argv[1]))' "$name"
    done
}

unpacked() {
    cd "$root"
    mkdir -p "$place/site" "$place/data" "${OUT:=$place/out}"
    if [ -d .gpu/wheels ]; then
        "$python" -m pip install -q --no-index --no-deps --upgrade --target "$place/site" .gpu/wheels/*.whl
    fi
    for part in .gpu/part-*; do
        [ ! -d "$part" ] || cp -r "$part/." "$place/data/"
    done
    export PYTHONPATH="$place/site:$PWD" PYTHONUNBUFFERED=1
    export COMPRESS_DATA="$place/data" COMPRESS_TEACHERS="$place/data/teachers"
    export COMPRESS_CACHE="$place/cache"
}

images() {
    if [ -f "$place/data/unpack.py" ]; then
        "$python" "$place/data/unpack.py" --out "$place/data" || echo "not all images have come" >&2
    fi
}

# Records, learning curves and weights of the runs so far; large files in pieces, to be joined by cat.
bring_home() {
    tar -czf "$place/home.tar.gz" --exclude=last.pt --exclude=predictions \
        --exclude=tensorboard benchmarks/records $(ls -d runs 2>/dev/null)
    split -b 15m -d "$place/home.tar.gz" "$OUT/home.tar.gz."
    ls -l "$OUT"
}

# A folder by its whole path, wherever the script was called from.
whole() {
    (cd "$1" && pwd) || exit 2
}

case ${1:-} in
pack)
    [ $# -eq 3 ] || { echo "usage: $0 pack DATA TEACHERS" >&2; exit 2; }
    data=$(whole "$2")
    teachers=$(whole "$3")
    cd "$root"
    pack "$data" "$teachers"
    ;;
tests)
    unpacked
    "$python" -m pytest -m gpu -W default -p no:cacheprovider tests/training tests/data
    ;;
throughput)
    unpacked
    "$python" benchmarks/distill_throughput.py --device "${DEVICE:-cuda}" \
        --out "$OUT/distill_throughput-${DEVICE:-cuda}.json"
    ;;
recipes)
    [ $# -ge 2 ] || { echo "usage: $0 recipes MINUTES [ITEM]" >&2; exit 2; }
    unpacked
    images
    "$python" benchmarks/run_recipes.py --device "${DEVICE:-cuda}" --minutes "$2" \
        ${3:+--only "$3"} || code=$?
    bring_home
    exit "${code:-0}"
    ;;
*)
    sed -n '2,14s/^# \{0,1\}//p' "$root/benchmarks/borrowed_gpu.sh" >&2
    exit 2
    ;;
esac
