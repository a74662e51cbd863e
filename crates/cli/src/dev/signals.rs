//! The signals that end `shoal dev`, SIGINT and SIGTERM.
//!
//! Holds: the first one asks for an orderly end, whatever goes on; a second one does not wait for
//! it.

use crate::failure::Failure;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Signals that come within this long of the first are the first: a terminal and a supervisor
/// may both send one.
const ONE_SIGNAL: Duration = Duration::from_secs(1);

/// Listens for them.
pub(super) struct Signals {
    runtime: Runtime,
    heard: Heard,
    told: Arc<AtomicBool>,
}

struct Heard {
    interrupt: Signal,
    terminate: Signal,
    first: Option<Instant>,
}

impl Heard {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl Signals {
    /// Begins to listen.
    pub(super) fn new() -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let heard = {
            let _context = runtime.enter();
            Heard {
                interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
                terminate: signal(SignalKind::terminate()).map_err(failed)?,
                first: None,
            }
        };
        Ok(Self { runtime, heard, told: Arc::default() })
    }

    /// Whether one has come, for whoever waits elsewhere.
    pub(super) fn told(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.told)
    }

    /// Whether one has come.
    pub(super) fn was_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Waits for one.
    pub(super) fn wait(&mut self) {
        self.runtime.block_on(self.heard.next());
        self.note();
    }

    /// Does what blocks, and listens meanwhile. A second signal leaves it where it is: it ends with
    /// the process.
    pub(super) fn unless_told_twice<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (done, mut outcome) = oneshot::channel();
        let worker = thread::Builder::new().name("shoal-dev".to_owned());
        // Nobody waits any more after a second signal.
        let worker = worker.spawn(move || drop(done.send(work()))).map_err(failed)?;
        loop {
            let ended = self.runtime.block_on(async {
                tokio::select! {
                    ended = &mut outcome => Some(ended),
                    () = self.heard.next() => None,
                }
            });
            match ended {
                Some(Ok(outcome)) => return outcome,
                // It goes without a word only if the work panicked.
                Some(Err(_)) => match worker.join() {
                    Err(panic) => std::panic::resume_unwind(panic),
                    Ok(()) => return Err(interrupted()),
                },
                None if self.is_second() => return Err(interrupted()),
                None => self.note(),
            }
        }
    }

    fn note(&mut self) {
        self.told.store(true, Ordering::Relaxed);
        self.heard.first.get_or_insert_with(Instant::now);
    }

    fn is_second(&self) -> bool {
        self.heard.first.is_some_and(|first| first.elapsed() >= ONE_SIGNAL)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where an error is mapped")]
fn failed(error: io::Error) -> Failure {
    Failure::new("dev", format!("signals cannot be listened for: {error}"))
        .hint("raise the limit of processes and files")
}

fn interrupted() -> Failure {
    Failure::new("dev", "stopped at once by a second signal; what was acknowledged is kept")
}
