//! Waiting for something to become true, with a deadline and the last reason why it was not.

use std::thread;
use std::time::{Duration, Instant};

/// Generous, because it is only ever used up by a test that fails: a loaded machine must not fail one.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Repeats `probe` until it succeeds; panics with its last error when the deadline has passed.
#[track_caller]
pub fn eventually<T>(deadline: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + deadline;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(reason) if Instant::now() >= end => panic!("not within {deadline:?}: {reason}"),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}
