//! Whatever happens while a lab comes up, nothing is left.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use chaos::lab::{Lab, LabError, Step};

use crate::support::{alone, eventually, held, options, spec};

const EVERYTHING: &str = "
name: all
networks: { a: , b: }
nodes:
  x: { networks: [a], processes: [{ name: p, command: [sleep, '60'] }] }
  r: { networks: [a, b], forward: true }
  y: { networks: [b], processes: [{ name: q, command: [sh, -c, 'setsid sleep 60 & sleep 60'] }] }
";

/// Brings the lab up, and calls `at` before the given step.
fn up_until(stop: usize, at: impl Fn() -> ControlFlow<()> + Sync) -> (Option<LabError>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut steps = 0;
    let result = catch_unwind(AssertUnwindSafe(|| {
        Lab::up_watched(&spec(EVERYTHING), options(&folder), &mut |_: &Step<'_>| {
            steps += 1;
            if steps == stop { at() } else { ControlFlow::Continue(()) }
        })
        .map(Lab::down)
        .err()
    }));
    assert!(!folder.path().join("lab").exists(), "files are left at step {stop}");
    (result.unwrap_or(None), steps)
}

#[test]
fn nothing_is_left_wherever_building_stops() {
    let _alone = alone();
    let before = held();
    let (error, steps) = up_until(usize::MAX, || ControlFlow::Continue(()));
    assert!(error.is_none(), "{error:?}");
    assert!(steps > 15, "{steps}");
    for stop in 1..=steps {
        let (error, _) = up_until(stop, || ControlFlow::Break(()));
        assert!(matches!(error, Some(LabError::Cancelled { .. })), "step {stop}: {error:?}");
        eventually(&format!("clean after step {stop}"), || held() == before);
    }
    for stop in [1, 3, steps / 2, steps] {
        up_until(stop, || panic!("on purpose, before step {stop}"));
        eventually(&format!("clean after a panic at step {stop}"), || held() == before);
    }
}

#[test]
fn a_failed_lab_can_be_kept_to_look_around() {
    let _alone = alone();
    let before = held();
    let folder = tempfile::tempdir().unwrap();
    let text = "{name: k, nodes: {a: , b: {processes: [{name: p, command: ['false'], ready: {tcp: 'b:1'}}]}}}";
    let (lab, error) =
        Lab::up_keeping(&spec(text), options(&folder), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(error, Some(LabError::Died { .. })));
    assert!(lab.exec("a", &["true"], Duration::from_secs(5)).unwrap().exit.success());
    drop(lab);
    eventually("clean", || held() == before);
}

#[test]
fn taking_down_is_bounded_even_if_processes_are_deaf() {
    let _alone = alone();
    let before = held();
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    options.grace = Duration::from_millis(500);
    let deaf = "{name: p, command: [sh, -c, 'trap \"\" TERM; while :; do sleep 1; done']}";
    let text = format!(
        "{{name: d, nodes: {{a: {{processes: [{deaf}]}}, b: {{processes: [{deaf}]}}, c: {{processes: [{deaf}]}}}}}}"
    );
    let lab = Lab::up(&spec(&text), options).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let begin = Instant::now();
    lab.down();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    eventually("clean", || held() == before);
}
