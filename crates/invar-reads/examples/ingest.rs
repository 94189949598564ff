//! Private timing aid: `ingest OUT FILE...`; `-m` mates, `-i` interleaved, `-r REF`, `-s` skip bad.
use invar_dataset::NoProgress;
use invar_reads::{IngestConfig, Inputs, Pairing, ReadDataset, Reads, ingest};
fn main() {
    let mut args = std::env::args().skip(1);
    let out = args.next().unwrap();
    let mut inputs = Inputs::files(Vec::<String>::new());
    let mut config = IngestConfig { force: true, ..Default::default() };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-m" => inputs.pairing = Pairing::Files,
            "-i" => inputs.pairing = Pairing::Interleaved,
            "-r" => inputs.reference = args.next().map(Into::into),
            "-s" => config.skip_bad_records = true,
            "-k" => config.force = false,
            "-b" => config.shard_bp = args.next().unwrap().parse().unwrap(),
            _ => inputs.files.push(arg.into()),
        }
    }
    let start = std::time::Instant::now();
    match ingest(&inputs, out.as_ref(), &config, &NoProgress) {
        Ok(summary) => {
            let seconds = start.elapsed().as_secs_f64();
            let data = ReadDataset::open(&[out.into()]).unwrap();
            println!(
                "{seconds:.3} s, {} reads, done {} resumed {}, {:?} {:?}",
                Reads::len(&data),
                summary.already_done,
                summary.resumed_shards,
                summary.manifest.counts,
                summary.manifest.skipped
            );
        }
        Err(error) => println!("{}: {error}", error.kind().name()),
    }
}
