#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# sw2-report: a page of one run and of two, whose numbers are sw2-eval's at any number of ranks;
# plots alone; the page in a real browser, if one is here; and one clear error for what is no run.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
report=$SW2_BIN/sw2-report

must "$train" -o train.epochs=3 --out a
must at 2 "$train" -o train.epochs=3 -o train.lr=0.003 --out b
must "$train" -o train.epochs=4 --force --out a # goes on, and is another start
[ "$(wc -l <a/starts.jsonl)" = 2 ] || fail "starts of a: $(cat a/starts.jsonl)"

must "$report" a -O one.html
must at 3 "$report" a b --title 'Two <runs>' -O two.html
page=$SW2_SOURCE/tests/support/check_page.py
if command -v python3 >/dev/null; then
    python3 "$page" one.html section=3 svg=8 || fail "one.html"
    python3 "$page" two.html section=4 svg=11 || fail "two.html"
fi
grep -q '<title>Two &lt;runs&gt;</title>' two.html || fail "no title"
for text in 'avx\|sse' 'Recipe' 'Start 2 of 2' 'expected calibration error' 'Worst mistakes'; do
    grep -q "$text" one.html || fail "one.html says nothing of $text"
done

# Its counts are those of sw2-eval, at any number of ranks.
must "$evaluate" a/checkpoints/best.h5 --json eval.json
matrix() {
    grep -A 99 '"confusion"' eval.json | tail -n +2 | tr -cd '0-9,\n' | tr ',' '\n' | grep .
}
for ranks in 1 2 3; do
    must at $ranks "$report" a --svg plots-$ranks
    grep -o '<title>[0-9]* of [0-9]* samples' plots-$ranks/confusion.svg |
        sed 's/<title>\([0-9]*\) .*/\1/' >cells
    diff <(matrix) cells >difference || fail "confusion at $ranks ranks: $(cat difference)"
    for plot in loss metric learning-rate reliability confusion; do
        cmp plots-1/$plot.svg plots-$ranks/$plot.svg || fail "$plot.svg at $ranks ranks"
    done
    must at $ranks "$report" a -O page-$ranks.html
    diff <(grep -A 99 'Worst mistakes' page-1.html | grep 'taken for') \
        <(grep -A 99 'Worst mistakes' page-$ranks.html | grep 'taken for') >difference ||
        fail "mistakes at $ranks ranks: $(cat difference)"
done
share=$(sed -n 's/.*"accuracy": \([0-9.]*\).*/\1/p' eval.json | awk '{ printf "%.2f", 100 * $1 }')
grep -q "<b>$share %</b><span>test accuracy" one.html || fail "not an accuracy of $share %"

# A run whose data are gone is still shown.
cp -r a c
sed -i 's/"train_loss":[^,]*/"train_loss":null/' c/metrics.jsonl
rm -r c/checkpoints
must "$report" c -O c.html
grep -q 'was not tested' c.html || fail "c.html does not say why it has no verdict"

# In a browser: the script runs, and a pointer over a plot brings up the numbers there.
browser=$(command -v chromium || command -v chromium-browser || true)
if [ -n "$browser" ] && [ -z "$quick" ]; then
    sed 's#</body>#<script>const g = document.querySelector("g.lines"), s = g.ownerSVGElement;\
        const b = s.getBoundingClientRect();\
        s.dispatchEvent(new PointerEvent("pointermove", {clientX: b.right - 30, clientY: 200}));\
        const t = s.closest("figure").querySelector(".tip");\
        document.title = "tip " + t.style.display + " " + t.textContent;</script></body>#' \
        one.html >hover.html
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu \
        --user-data-dir="$work/browser" --dump-dom "file://$work/hover.html" \
        >dom.html 2>browser.log || fail "$(tail -5 browser.log)"
    tip=$(grep -o '<title>tip [^<]*' dom.html | head -1)
    last=$(awk -F, 'END { printf "%.5g", $8 }' a/metrics.csv)
    grep -q 'tip block epoch 4' <<<"$tip" || fail "no values under the pointer: $tip"
    grep -qF "test  $last" <<<"$tip" || fail "not $last under the pointer: $tip"
fi

refused() { refuses "$report" "$@"; } # CODE TEXT ARGUMENT...
mkdir empty
refused 2 "no folder 'nothing'" nothing
refused 2 "neither metrics.jsonl nor checkpoints" empty
refused 2 "named twice" a a
refused 3 "none.h5" a --data none.h5
refused 1 "cannot write 'no/such/page.html'" a -O no/such/page.html
ls no* 2>/dev/null && fail "half a page"
# Fontconfig keeps what it allocated.
if ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 \
    "$report" a --png plots-png >png.out 2>&1; then
    [ "$(head -c 4 plots-png/loss.png | tail -c 3)" = PNG ] || fail "plots-png/loss.png is no PNG"
else
    grep -q 'without librsvg' png.out || fail "$(cat png.out)"
fi
