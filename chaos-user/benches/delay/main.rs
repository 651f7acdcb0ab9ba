//! What users see of delays: the product's own rules on a link between two namespaces, beside what
//! `tc` and tcconfig do to the same kind of link in the same run, where the kernel has netem and the
//! machine has them. Needs root.
//!
//! `cargo bench -p chaos-user --bench delay [-- accuracy|distributions|losses|throughput]`, and
//! `--delays 100,1000 --rates 1000` for some cells of the first.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure fails by panicking")]

mod accuracy;
mod distributions;
#[path = "../data_plane/link.rs"]
mod link;
mod losses;
#[path = "../delay_line/one_way.rs"]
mod one_way;
mod peer;
mod product;
#[path = "../delay_line/sample.rs"]
mod sample;
mod throughput;

use clap::Parser as _;
use clap::builder::PossibleValuesParser;

/// What to measure.
#[derive(Debug, clap::Parser)]
struct Options {
    /// Only these
    #[arg(value_parser = PossibleValuesParser::new(BENCHMARKS.map(|(name, _)| name)))]
    only: Vec<String>,
    /// Delays of `accuracy`, in µs
    #[arg(long, value_delimiter = ',', default_values_t = accuracy::DELAYS)]
    delays: Vec<u64>,
    /// Packets per second of `accuracy`
    #[arg(long, value_delimiter = ',', default_values_t = accuracy::RATES)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rates: Vec<u64>,
    /// What `accuracy` compares with has to be there
    #[arg(long)]
    peers: bool,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

type Benchmark = fn(&Options);

const BENCHMARKS: [(&str, Benchmark); 4] = [
    ("accuracy", accuracy::run),
    ("distributions", |_| distributions::run()),
    ("losses", |_| losses::run()),
    ("throughput", |_| throughput::run()),
];

fn main() {
    let options = Options::parse();
    for (name, run) in BENCHMARKS {
        if options.only.is_empty() || options.only.iter().any(|one| one == name) {
            run(&options);
        }
    }
}
