//! Asking the node on behalf of one request: here where the answer is at hand, by waiting for
//! other nodes where they have it, on a thread that may wait where a disk has, and never telling
//! what is not yet durable.

use shoal_node::{Access, Errands, Node};
use shoal_node::{Code, Halt, Refusal};
use shoal_storage::{Commit, Patience};
use std::sync::Arc;

/// Runs `job`, again from where it left off on another thread if a disk may have to be waited
/// for, and waits until what it saw and did is settled.
pub(crate) async fn run<T, J>(node: &Arc<Node>, mut job: J) -> Result<T, Refusal>
where
    J: FnMut(&mut Access<'_>) -> Result<T, Halt> + Send + 'static,
    T: Send + 'static,
{
    let mut commit = Commit::DONE;
    let mut errands = Errands::default();
    let mut outcome;
    loop {
        let (came, seen, asked) = attempt(node, Patience::Inline, errands, &mut job);
        (outcome, commit, errands) = (came, commit.join(seen), asked);
        if !matches!(outcome, Err(Halt::Away)) {
            break;
        }
        errands.answered().await;
    }
    if matches!(outcome, Err(Halt::Cold)) {
        let there = Arc::clone(node);
        let later;
        (outcome, later) = blocking(move || {
            let (outcome, seen, _) = attempt(&there, Patience::Block, errands, &mut job);
            (outcome, seen)
        })
        .await?;
        commit = commit.join(later);
    }
    // A refusal may speak of what is not settled, too: "the condition is not met".
    node.settled(commit).await?;
    outcome.map_err(|halt| match halt {
        Halt::Refused(refusal) => refusal,
        Halt::Cold | Halt::Away => Refusal::new(Code::Storage, "a read was not answered"),
    })
}

/// Runs `job` once, as a continuation of the runs that have asked what is in `errands`.
fn attempt<T>(
    node: &Node,
    patience: Patience,
    errands: Errands,
    job: &mut impl FnMut(&mut Access<'_>) -> Result<T, Halt>,
) -> (Result<T, Halt>, Commit, Errands) {
    let mut access = node.access(patience);
    access.resume(errands);
    let outcome = job(&mut access);
    (outcome, access.commit(), access.suspend())
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request panicked");
        Refusal::new(Code::Storage, "the request failed inside the server; its log says more")
    })
}
