//! Waiting for what comes true in its own time.

use std::thread;
use std::time::{Duration, Instant};

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < until, "it never came true: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
