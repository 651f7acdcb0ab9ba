//! How long a plan takes to reach the kernel.

use std::time::Instant;

use anyhow::Result;
use chaos::experiment::units::{Direction, Protocol};
use chaos::kernel::bpf::{Object, Sizes};
use chaos::plan::{Action, Loss};

use crate::report::{Report, Row};
use crate::stats::Spread;
use crate::subject::Rules;

const ROUNDS: usize = 9;

/// 10 000 rules: compiled, into an empty bank, and over another 10 000.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let rules = Rules {
        count: 10_000,
        v6: false,
        protocol: Protocol::UDP,
        action: Action::Drop(Loss::Always),
        live: false,
        shapes: 1,
        connections: None,
        direction: Direction::To,
    };
    let list = rules.list();
    let (mut compiled, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let tables = rules.tables(&list)?;
        compiled.push(ms(begin));
        let mut object = Object::load(Sizes::of(&tables))?;
        // The third fill meets a bank that is not empty.
        for round in 0..3 {
            let begin = Instant::now();
            let filled = object.fill(&tables)?;
            object.flip(filled, 0);
            match round {
                0 => first.push(ms(begin)),
                2 => again.push(ms(begin)),
                _ => {}
            }
        }
    }
    let mut add = |name: &str, samples: Vec<f64>, aim| {
        let value = Spread::of(samples);
        report.add(name, Row { unit: "ms".into(), value, ratio: None, aim });
    };
    add("compile 10000 rules", compiled, None);
    add("install 10000 rules", first, Some(100.0));
    add("install 10000 rules over 10000", again, Some(100.0));
    Ok(())
}

fn ms(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}
