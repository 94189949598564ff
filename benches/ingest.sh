#!/bin/sh
# Ingest beside programs that only count, on >= 200 MB of real long and short reads.
#
#   benches/ingest.sh [CACHE]          # CACHE (default target/bench) holds the inputs: 1.6 GB, made once
#
# Long reads: the 280 MB PacBio FASTQ of Debian's wtdbg2-examples. Short reads: the 100,000 Illumina reads of Debian's
# gasic-examples ten times over, with the repeat's number in each name (gzip's window is far shorter than a repeat, so they compress
# as any reads do). Each as FASTQ, gzip, BGZF, and unmapped BAM.
# Needs: apt-get (to download, not to install), seqkit, samtools, tabix (bgzip), python3, cargo.
# INVAR (default target/release/invar) is the program under test; ROUNDS (default 3) the runs of each command, of which the best counts.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
mkdir -p "${1:-$root/target/bench}"
cache=$(cd "${1:-$root/target/bench}" && pwd)
invar=${INVAR:-$root/target/release/invar}
rounds=${ROUNDS:-3}

# Makes a file by writing it beside and renaming it, if it is not there.
make_file() {
    [ -e "$1" ] && return
    echo "making $1" >&2
    shift_to=$1
    shift
    "$@" > "$shift_to.partial"
    mv "$shift_to.partial" "$shift_to"
}

unpack() {
    package=$1
    [ -d "$cache/$package" ] && return
    (cd "$cache" && ls "$package"_*.deb > /dev/null 2>&1 || (cd "$cache" && apt-get download -qq "$package"))
    dpkg-deb -x "$cache/$package"_*.deb "$cache/$package.partial"
    mv "$cache/$package.partial" "$cache/$package"
}

long_reads() { tar -xzOf "$cache/wtdbg2-examples/usr/share/doc/wtdbg2-examples/selfSampleData.tar.gz" --wildcards '*.fastq'; }
short_reads() {
    for repeat in 0 1 2 3 4 5 6 7 8 9; do
        gzip -dc "$cache/gasic-examples/usr/share/doc/gasic/examples/reads/SRR059298_subset.fastq.gz" |
            sed "1~4s/^@SRR059298/@repeat$repeat/; 3~4s/^.*/+/"
    done
}

[ -e "$cache/long.fastq" ] || unpack wtdbg2-examples
[ -e "$cache/short.fastq" ] || unpack gasic-examples
make_file "$cache/long.fastq" long_reads
make_file "$cache/short.fastq" short_reads
for reads in long short; do
    make_file "$cache/$reads.fastq.gz" gzip -6 -nc "$cache/$reads.fastq"
    make_file "$cache/$reads.fastq.bgz" bgzip -@2 -c "$cache/$reads.fastq"
    make_file "$cache/$reads.bam" samtools import --no-PG -@2 -O bam -0 "$cache/$reads.fastq"
done
(cd "$here/peers/count-reads" && CARGO_TARGET_DIR="$cache/count-reads" cargo build --release --quiet)

out=$cache/data
tab=$(printf '\t')
for reads in long short; do
    for kind in fastq fastq.gz fastq.bgz bam; do
        file=$cache/$reads.$kind
        {
            echo "invar ingest${tab}rm -rf '$out'${tab}'$invar' ingest reads '$file' --out '$out' -q"
            if [ "$kind" = bam ]; then
                echo "samtools view -c -@2${tab}${tab}samtools view -c -@2 '$file'"
            else
                echo "seqkit stats -j2${tab}${tab}seqkit stats -j2 '$file'"
                echo "needletail count${tab}${tab}'$cache/count-reads/release/count-needletail' '$file'"
                echo "paraseq count -t2${tab}${tab}'$cache/count-reads/release/count-paraseq' '$file'"
            fi
        } | python3 "$here/measure.py" --rounds "$rounds" --title "$reads.$kind ($(($(wc -c < "$file") / 1000000)) MB)"
    done
done
rm -rf "$out"
