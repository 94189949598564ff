#!/bin/sh
# Ingest of FASTQ from a disk beside the same from S3 and the web on this machine.
#
#   benches/stores.sh FASTQ [CACHE]
#
# Two servers, because moto's is Python without sendfile and may be what limits: moto (a real server of S3 in all but its store), and
# peers/range_server.py, the file by sendfile, as S3 and as a web server.
# Needs: python3 with `moto[s3,server]` (PYTHON names another), curl. INVAR (default target/release/invar) is the program under test,
# ROUNDS (default 3) the runs of each command, of which the best counts.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
fastq=$1
mkdir -p "${2:-$root/target/bench}"
cache=$(cd "${2:-$root/target/bench}" && pwd)
invar=${INVAR:-$root/target/release/invar}
python=${PYTHON:-python3}
moto=5861
range=5862
rm -rf "$cache/stores"
mkdir -p "$cache/stores/bucket"
ln "$fastq" "$cache/stores/bucket/reads" 2> /dev/null || cp "$fastq" "$cache/stores/bucket/reads"
"$python" -m moto.server -p $moto > /dev/null 2>&1 &
servers=$!
"$python" "$here/peers/range_server.py" "$cache/stores" $range &
servers="$servers $!"
# shellcheck disable=SC2064,SC2086
trap "kill $servers; rm -rf '$cache/stores'" EXIT
for port in $moto $range; do
    until curl --silent --output /dev/null "http://127.0.0.1:$port/"; do sleep 0.1; done
done
curl --silent --fail --request PUT "http://127.0.0.1:$moto/bucket"
curl --silent --fail --upload-file "$fastq" "http://127.0.0.1:$moto/bucket/reads"
export AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b AWS_REGION=us-east-1
out=$cache/stores/data
tab=$(printf '\t')
ingest="'$invar' ingest reads -q --out '$out'"
{
    echo "disk${tab}rm -rf '$out'${tab}$ingest '$fastq'"
    echo "s3, moto${tab}rm -rf '$out'${tab}AWS_ENDPOINT_URL=http://127.0.0.1:$moto $ingest s3://bucket/reads"
    echo "s3, range server${tab}rm -rf '$out'${tab}AWS_ENDPOINT_URL=http://127.0.0.1:$range $ingest s3://bucket/reads"
    echo "http, range server${tab}rm -rf '$out'${tab}$ingest http://127.0.0.1:$range/bucket/reads"
} | "$python" "$here/measure.py" --rounds "${ROUNDS:-3}" --title "$(basename "$fastq") ($(($(wc -c < "$fastq") / 1000000)) MB)"
