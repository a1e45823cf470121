#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Checkpoints are plain HDF5 to others: h5dump and h5py open them and read what is in them.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

must "$train" digits -o train.steps=8 -o train.warmup=0 -o train.ema=0.9 --out run
file=run/checkpoints/step-0000000008.h5
checked=

if command -v h5dump >/dev/null; then
    h5dump -H "$file" >header || fail "h5dump cannot read $file"
    grep -q 'GROUP "model"' header && grep -q 'GROUP "optimizer"' header &&
        grep -q 'ATTRIBUTE "recipe"' header || { cat header; fail "h5dump: not all is there"; }
    h5dump -a /global_step "$file" | grep -q '(0): 8$' || fail "h5dump: another global_step"
    h5dump "$file" >all || fail "h5dump cannot read the data of $file"
    ! grep -qi 'nan' all || fail "h5dump: no numbers"
    checked="h5dump"
else
    echo "not checked: h5dump is not installed (hdf5-tools)"
fi

python=
for one in /usr/bin/python3 python3; do
    if "$one" -c 'import h5py, numpy' 2>/dev/null; then
        python=$one
        break
    fi
done
if [ -n "$python" ]; then
    "$python" - "$file" <<'END' || fail "h5py cannot read $file"
import h5py
import numpy
import sys

with h5py.File(sys.argv[1], "r") as file:
    assert file.attrs["format"] in ("sw2 checkpoint", b"sw2 checkpoint"), file.attrs["format"]
    assert file.attrs["global_step"] == 8 and file.attrs["next_epoch"] == 0
    found = {}

    def look(name, item):
        if isinstance(item, h5py.Dataset):
            values = item[...]
            assert values.dtype == numpy.float32 and numpy.isfinite(values).all(), name
            found[name] = values

    file.visititems(look)
    weights = [name for name in found if name.startswith("model/")]
    assert weights and any(numpy.abs(found[name]).max() > 0 for name in weights)
    for name in weights:  # the EMA has all of them, in the same shapes
        same = "optimizer/ema/" + name[len("model/"):]
        assert found[same].shape == found[name].shape, same
    assert any(name.startswith("optimizer/momentum/") for name in found)
    print(len(found), "tensors")
END
    checked="$checked h5py"
else
    echo "not checked: python3 has no h5py"
fi

[ -n "$checked" ] || { echo "neither h5dump nor h5py is here"; exit 77; }
echo "checkpoints open in: $checked"
