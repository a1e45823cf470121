#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes data/digits.h5, the embedded default data set, from digits.csv.gz of the UCI digits
# (as scikit-learn ships it: 64 values 0..16 and the label a line).
#   scripts/make_digits.sh FOLDER [OUT.h5]     FOLDER holds digits.csv.gz
# sw2-data is taken from $SW2_BIN, else from PATH. The same program makes the same bytes.
set -euo pipefail
source_folder=${1:?usage: scripts/make_digits.sh FOLDER [OUT.h5]}
here=$(cd "$(dirname "$0")/.." && pwd)
out=${2:-$here/data/digits.h5}
sw2_data=sw2-data
if [ -n "${SW2_BIN:-}" ]; then
    sw2_data=$SW2_BIN/sw2-data
fi
text="UCI Machine Learning Repository, Optical Recognition of Handwritten Digits \
(E. Alpaydin, C. Kaynak, 1998), its 1,797 test digits as shipped with scikit-learn \
(digits.csv.gz); pixel counts 0..16 stored as round(count * 255 / 16); split by class with seed 1"
exec "$sw2_data" import "$source_folder/digits.csv.gz" "$out" --format csv --header no --target -1 \
    --shape 8x8x1 --max 16 --split 0.2 --shuffle --seed 1 --source "$text" --licence "CC BY 4.0"
