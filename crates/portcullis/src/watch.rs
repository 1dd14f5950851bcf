//! Reloads when a file of the gate has changed (`watch_files`).

use crate::gate::Gate;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What tells a file from its former self: also where a link leads elsewhere, as in a mounted ConfigMap.
type Mark = Option<(u64, u64, u64, i64, i64)>;

fn mark(path: &Path) -> Mark {
    let facts = fs::metadata(path).ok()?;
    Some((facts.dev(), facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec()))
}

fn marks(gate: &Gate) -> Vec<Mark> {
    gate.files().iter().map(|path| mark(path)).collect()
}

/// Looks at the files as long as the process runs. A file that is still being written is waited for.
pub fn start(gate: Arc<Gate>) -> std::io::Result<()> {
    let mut in_force = marks(&gate);
    let mut seen = in_force.clone();
    let watch = move || {
        loop {
            std::thread::sleep(EVERY);
            let now = marks(&gate);
            let settled = now == seen;
            seen = now;
            if settled && seen != in_force {
                in_force.clone_from(&seen);
                tracing::info!("a file has changed: reading it again");
                gate.reload_and_tell();
            }
        }
    };
    std::thread::Builder::new().name("watch".to_owned()).spawn(watch).map(drop)
}
