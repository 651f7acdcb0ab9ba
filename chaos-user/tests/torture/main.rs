//! Runs are killed, stopped and hindered at points all over their lives, and after each the machine
//! has to be as it was. A few points are a test; `cargo xtask torture` runs hundreds.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod bench;
mod engine;
mod objects;
mod plan;
mod squeezed;
mod state;
mod strike;
mod subject;
mod table;
mod terminal;

use std::time::{Duration, Instant};

use bench::Bench;
use plan::{Arsenal, Point};
use subject::Subject;
use table::Table;

/// Points if `CHAOS_TORTURE_POINTS` does not say how many.
const POINTS: usize = 14;
/// And so many of the faults, others each time: every one has to be lived through undisturbed first.
const SUBJECTS: usize = 5;
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
    let mut random = fastrand::Rng::with_seed(seed);
    let mut subjects = Subject::all();
    subjects.retain(|subject| subject.name().contains(&only));
    assert!(!subjects.is_empty(), "no fault is called {only:?}");
    let mut first = 0;
    if asked.is_none() {
        // What takes long is left to who asks for so many points.
        subjects.retain(|subject| !subject.needs_netem() && *subject != Subject::Pressure);
        random.shuffle(&mut subjects);
        subjects.truncate(SUBJECTS);
        first = random.usize(0..100);
    }
    // Only a guest's clock is this test's alone.
    let arsenal = Arsenal { clock: asked.is_some() && number("CHAOS_TEST_SLOWNESS").is_some() };
    let began = Instant::now();
    let mut benches: Vec<Option<Bench>> = subjects.iter().map(|_| None).collect();
    let mut table = Table::new(seed);
    let points = asked.map_or(POINTS, |asked| asked as usize);
    for number in 0..points {
        if asked.is_none() && number > 0 && began.elapsed() > BUDGET {
            println!("time is up after {number} points");
            break;
        }
        let (round, turn) = (number / subjects.len(), number % subjects.len());
        let bench = benches[turn].get_or_insert_with(|| Bench::new(subjects[turn]));
        let felt = bench.subject().is_felt();
        // Another blow for each, for few points are to show many.
        let which = first + round + turn;
        let point = Point::choose(which, felt, bench.life(), arsenal, &mut random);
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
