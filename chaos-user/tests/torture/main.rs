//! Runs are killed, stopped and hindered at points all over their lives, and after each the machine
//! has to be as it was. A few points are a test; `cargo xtask torture` runs hundreds.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod bench;
mod plan;
mod state;
mod strike;
mod subject;
mod table;

use std::time::{Duration, Instant};

use bench::Bench;
use plan::Point;
use subject::Subject;
use table::Table;

/// Points if `CHAOS_TORTURE_POINTS` does not say how many.
const POINTS: usize = 14;
/// What they may take together then, on slow machines too: later ones are left out.
const BUDGET: Duration = Duration::from_secs(45);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// What may take so long on a quiet machine may take longer on a busy one.
fn slowness() -> u32 {
    number("CHAOS_TEST_SLOWNESS").unwrap_or(1) as u32
}

#[test]
fn the_machine_is_as_before_wherever_a_run_dies() {
    let asked = number("CHAOS_TORTURE_POINTS");
    let seed = number("CHAOS_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("CHAOS_TEST_SEED={seed}");
    let only = std::env::var("CHAOS_TORTURE_ONLY").unwrap_or_default();
    let subjects: Vec<Subject> =
        Subject::ALL.into_iter().filter(|subject| subject.name().contains(&only)).collect();
    assert!(!subjects.is_empty(), "no fault is called {only:?}");
    let began = Instant::now();
    let mut benches: Vec<Option<Bench>> = subjects.iter().map(|_| None).collect();
    let mut table = Table::new(seed);
    let points = asked.map_or(POINTS, |asked| asked as usize);
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 0..points {
        if asked.is_none() && number > 0 && began.elapsed() > BUDGET {
            println!("time is up after {number} points");
            break;
        }
        let (round, turn) = (number / subjects.len(), number % subjects.len());
        let bench = benches[turn].get_or_insert_with(|| Bench::new(subjects[turn]));
        let felt = bench.subject().is_felt();
        let point = Point::choose(round, felt, bench.life(), &mut random);
        println!("{number}: {}, {point}", bench.subject().name());
        let outcome = bench.torture(&point);
        if let Err(why) = &outcome {
            println!("  FAILED: {why}");
        }
        table.add(bench.subject(), &point, &outcome);
        // After every point: what was found out is there even if the rest takes too long.
        if let Some(path) = std::env::var_os("CHAOS_TORTURE_TABLE") {
            std::fs::write(path, table.to_string()).unwrap();
        }
    }
    println!("{table}");
    assert_eq!(table.failures(), 0, "{} points failed", table.failures());
}
