//! Sequencing reads: FASTQ, FASTA, BAM and CRAM to shards, and positive pairs of reads.
