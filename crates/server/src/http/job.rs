//! Asking the node on behalf of one request: here where the answer is at hand, on a thread that
//! may wait where it is not, and never telling what is not yet durable.

use shoal_node::{Access, Node};
use shoal_node::{Code, Halt, Refusal};
use shoal_storage::Patience;
use std::sync::Arc;

/// Runs `job`, again from where it left off on another thread if a disk may have to be waited
/// for, and waits until what it saw and did is settled.
pub(crate) async fn run<T, J>(node: &Arc<Node>, mut job: J) -> Result<T, Refusal>
where
    J: FnMut(&mut Access<'_>) -> Result<T, Halt> + Send + 'static,
    T: Send + 'static,
{
    let (mut outcome, mut commit) = {
        let mut access = node.access(Patience::Inline);
        let outcome = job(&mut access);
        (outcome, access.commit())
    };
    if matches!(outcome, Err(Halt::Cold)) {
        let there = Arc::clone(node);
        let later;
        (outcome, later) = blocking(move || {
            let mut access = there.access(Patience::Block);
            let outcome = job(&mut access);
            (outcome, access.commit())
        })
        .await?;
        commit = commit.join(later);
    }
    // A refusal may speak of what is not settled, too: "the condition is not met".
    node.settled(commit).await?;
    outcome.map_err(|halt| match halt {
        Halt::Refused(refusal) => refusal,
        Halt::Cold => Refusal::new(Code::Storage, "a read was not answered"),
    })
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
