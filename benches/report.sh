#!/bin/sh
# Reports of 100,000 and 1,000,000 made-up reads: how large they are, how long they take to write, and to be drawn by a headless
# Chromium that has no GPU.
#
#   benches/report.sh [CACHE]          # CACHE (default target/bench) holds the results and the pages
#
# INVAR (default target/release/invar) is the program under test; PYTHON one with numpy, pyarrow and playwright; CHROMIUM the browser.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
mkdir -p "${1:-$root/target/bench}"
cache=$(cd "${1:-$root/target/bench}" && pwd)
invar=${INVAR:-$root/target/release/invar}
python=${PYTHON:-python3}
for number in 100000 1000000; do
    result=$cache/report-$number
    [ -d "$result" ] || "$python" "$here/report.py" "$number" "$result"
    page=$cache/report-$number.html
    printf 'invar report, %s reads\t\t%s report %s --out %s --force\n' "$number" "$invar" "$result" "$page" |
        "$python" "$here/measure.py"
    "$python" "$here/report_drawn.py" "$page"
done
