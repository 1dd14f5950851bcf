//! How far a long change is, for whoever waits for it.

use crate::reply::{self, Response};
use schema::json;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many entities of how many are written; both are zero while nothing long is under way.
#[derive(Default)]
pub(crate) struct Progress {
    written: AtomicU64,
    of: AtomicU64,
}

/// A change under way. When it is dropped nothing is under way any more.
pub(crate) struct Begun<'a>(&'a Progress);

impl Progress {
    /// Changes come one at a time.
    pub(crate) fn begin(&self, of: usize) -> Begun<'_> {
        self.written.store(0, Relaxed);
        self.of.store(of as u64, Relaxed);
        Begun(self)
    }

    /// `GET /declarative/progress`
    pub(crate) fn answer(&self) -> Response {
        reply::ok(&json!({ "written": self.written.load(Relaxed), "of": self.of.load(Relaxed) }))
    }
}

impl Begun<'_> {
    pub(crate) fn one_more(&self) {
        self.0.written.fetch_add(1, Relaxed);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.of.store(0, Relaxed);
        self.0.written.store(0, Relaxed);
    }
}
