//! Putting a start on record: asked again and again, however long a majority takes to be found,
//! since of two nodes that were started from copies of one directory only one must go on.
//!
//! Meanwhile nodes that answer are told where this one is, since the map may have another address of
//! it, and asked for theirs.
//!
//! Holds: a proposal is cut short only where no node that answers takes the token that is
//! presented. What is waited for is known by name meanwhile.
//!
//! Does not know: which tokens there are and how they are kept.

use super::super::identity::Tokens;
use super::super::join::JoinError;
use super::super::message::Request;
use super::Ground;
use crate::naming;
use crate::node::StartError;
use crate::transport::{Denied, Identity, Kind, LinkStatus, Transport};
use bytes::Bytes;
use core::convert::Infallible;
use shoal_core::NodeId;
use shoal_core::ids::ClusterId;
use shoal_core::map::{ClusterMap, Command, MapError};
use shoal_meta::raft::RaftStore;
use shoal_meta::{MapStore as _, MetaError};
use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// The pauses between two proposals of a start, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How often is looked whether every link was denied: under the token before, and under the newest
/// one. The latter is final, so what the former was told has time to be forgotten.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// After how long of waiting, and how often, the others are asked where everybody is.
const FIND_AFTER: Duration = Duration::from_millis(500);
/// How long one may take to hear where this node is.
const FIND_WITHIN: Duration = Duration::from_secs(2);
/// How often the same reason is told again.
const TELL_AGAIN: Duration = Duration::from_secs(60);

impl Ground {
    /// Lets the map take note of this start. Waits until it has, or says that this directory is
    /// not to be used.
    ///
    /// # Errors
    /// The map's refusal, `stale_directory` above all, or the directory's.
    pub(crate) async fn put_on_record(
        &self,
        store: &Arc<RaftStore>,
        tokens: &mut Tokens,
        cluster: ClusterId,
    ) -> Result<(), StartError> {
        let (node, profile) = (store.node(), self.profile());
        let propose = |command: Command| async move {
            let Command::StartNode { presented, next, .. } = command else { return Ok(()) };
            let command = &command;
            let attempt = |token| async move {
                self.transport.assume(Identity { cluster, node, token });
                self.know_others(&store.current(), node);
                tokio::select! {
                    outcome = store.propose_async(command) => outcome.map(drop),
                    never = self.find_each_other(store) => match never {},
                }
            };
            let shut_out = || is_shut_out(&*self.transport);
            let explain = |error| explained(&store.current(), &self.transport.links(), error);
            let wait_for = |why: &str| self.wait_for(why);
            insist([presented, next], attempt, shut_out, explain, wait_for).await
        };
        tokens.put_on_record(node, &profile, propose).await?;
        self.transport.assume(Identity { cluster, node, token: tokens.presented() });
        Ok(())
    }

    /// Tells whoever answers where this node is, and learns from them where the others are: some may
    /// have been started elsewhere since, this node among them, and who was told nothing of it may be
    /// the only one who can lead. Goes on for ever.
    async fn find_each_other(&self, store: &Arc<RaftStore>) -> Infallible {
        let me = store.node();
        let peer = self.peers.network.address().to_string();
        let moved = Request::Moved { peer }.encode();
        loop {
            sleep(FIND_AFTER).await;
            let links = self.transport.links().into_iter();
            for node in links.filter(|link| link.up).map(|link| link.node) {
                let (tell, told) = oneshot::channel();
                // Whoever asked may have been cut off.
                let reply = Box::new(move |answer: Result<Bytes, _>| drop(tell.send(answer)));
                self.transport.ask(node, Kind::Control, moved.clone(), FIND_WITHIN, reply);
                // One of an older version does not understand it.
                let _heard = told.await;
                if let Err(error) = store.pull(node).await {
                    tracing::debug!(%node, %error, "could not pull the map");
                }
                self.know_others(&store.current(), me);
            }
        }
    }

    /// Tells the transport where the others are, but for those who can be asked: they may have said
    /// themselves where they are.
    fn know_others(&self, map: &ClusterMap, me: NodeId) {
        let links = self.transport.links();
        let is_up = |node| links.iter().any(|link| link.node == node && link.up);
        for (node, info) in &map.nodes {
            if let Some(address) = info.addresses.peer.as_deref().filter(|_| !info.is_gone())
                && *node != me
                && !is_up(*node)
            {
                self.transport.know(*node, address);
            }
        }
    }
}

/// Proposes under one token and the other by turns, until it is done or refused for good. Once a
/// start is on record, links under the token before are cut, perhaps before the answer has come;
/// and where the last start was cut short it is on record already.
async fn insist<F>(
    tokens: [u64; 2],
    mut attempt: impl FnMut(u64) -> F,
    shut_out: impl Fn() -> Option<JoinError>,
    explain: impl Fn(MetaError) -> String,
    wait_for: impl Fn(&str),
) -> Result<(), StartError>
where
    F: Future<Output = Result<(), MetaError>>,
{
    let newest = tokens[1];
    let (mut pause, mut told) = (PAUSES.0, None);
    for token in tokens.into_iter().cycle() {
        let look_again = if token == newest { LOOK_AGAIN.1 } else { LOOK_AGAIN.0 };
        let outcome = tokio::select! {
            biased;
            outcome = attempt(token) => outcome,
            why = denied(&shut_out, look_again) => {
                if token == newest {
                    return Err(why.into());
                }
                continue;
            }
        };
        let error = match outcome {
            Ok(()) => return Ok(()),
            Err(MetaError::Refused(why @ MapError::StaleDirectory { .. })) => {
                return Err(JoinError::new("stale_directory", why.to_string()).into());
            }
            Err(error @ MetaError::Refused(_)) => return Err(error.into()),
            Err(error) => explain(error),
        };
        if token == newest
            && let Some(why) = shut_out()
        {
            return Err(why.into());
        }
        wait_for(&error);
        let is_news = told.as_ref().is_none_or(|(before, at): &(String, Instant)| {
            *before != error || at.elapsed() >= TELL_AGAIN
        });
        if is_news {
            tracing::warn!(why = error, "waiting for the cluster to take note of this start");
            told = Some((error, Instant::now()));
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
    Ok(())
}

/// Why a start is not on record yet, with what those said who do not listen to this node.
fn explained(map: &ClusterMap, links: &[LinkStatus], error: MetaError) -> String {
    let mut why = naming::refused(map, error).message.into_owned();
    for link in links {
        if let Some(denied) = link.denied {
            let _never_fails = write!(why, "; {}: {denied}", naming::name_of(map, link.node));
        }
    }
    why
}

/// Waits until no node that answers listens to this one, and says why.
async fn denied(shut_out: impl Fn() -> Option<JoinError>, look_again: Duration) -> JoinError {
    loop {
        sleep(look_again).await;
        if let Some(why) = shut_out() {
            return why;
        }
    }
}

/// Why no node that answers listens to this one, if so. Under the token of its newest start that
/// is final: only a later start of the same node, or that it was forgotten, lets them refuse it.
fn is_shut_out(transport: &dyn Transport) -> Option<JoinError> {
    let links = transport.links();
    if links.iter().any(|link| link.up) {
        return None;
    }
    let mut denied = links.iter().filter_map(|link| link.denied);
    denied.find_map(|why| match why {
        Denied::StaleNode => {
            let message = "the data directory is an old copy: another one was started since";
            Some(JoinError::new("stale_directory", message))
        }
        Denied::UnknownNode => {
            let message = "the cluster has forgotten this node: join it with an empty directory";
            Some(JoinError::new("node_gone", message))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::future::ready;

    const BOTH: [u64; 2] = [7, 8];

    #[expect(clippy::needless_pass_by_value, reason = "it is called as the explanation is")]
    fn told(error: MetaError) -> String {
        error.to_string()
    }

    fn no_majority() -> MetaError {
        MetaError::NoMajority { voters: vec![NodeId(1)] }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_majority_is_waited_for_as_long_as_it_takes() {
        let asked = RefCell::new(Vec::new());
        let attempt = |token| {
            asked.borrow_mut().push(token);
            let is_first = asked.borrow().len() == 1;
            async move {
                // Longer than anybody should have to wait, though not than a proposal may take.
                sleep(Duration::from_secs(4)).await;
                if is_first { Err(no_majority()) } else { Ok(()) }
            }
        };
        let why = RefCell::new(String::new());
        let done =
            insist(BOTH, attempt, || None, told, |reason| reason.clone_into(&mut why.borrow_mut()));
        assert!(done.await.is_ok());
        assert_eq!(*asked.borrow(), BOTH, "one after the other, none of them cut short");
        assert_eq!(*why.borrow(), no_majority().to_string());
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_cuts_short_and_under_the_newest_token_is_final() {
        let presented = Cell::new(0);
        let attempt = |token| {
            presented.set(token);
            std::future::pending()
        };
        let stale = || Some(JoinError::new("stale_directory", "it is an old copy"));
        let outcome = insist(BOTH, attempt, stale, told, |_| {}).await;
        assert!(matches!(outcome, Err(StartError::Join(why)) if why.code == "stale_directory"));
        assert_eq!(presented.get(), BOTH[1]);
        // Under the token before, it only says that this start is on record.
        let attempt = |token| {
            presented.set(token);
            let is_new = token == BOTH[1];
            async move { if is_new { Ok(()) } else { std::future::pending().await } }
        };
        let denied = || if presented.get() == BOTH[0] { stale() } else { None };
        assert!(insist(BOTH, attempt, denied, told, |_| {}).await.is_ok());
        let refused = |_| {
            let token = Command::RemoveNode { node: NodeId(9) };
            let why = ClusterMap::default().apply(&token).expect_err("there is no such node");
            ready(Err(MetaError::Refused(why)))
        };
        assert!(matches!(
            insist(BOTH, refused, || None, told, |_| {}).await,
            Err(StartError::Map(MetaError::Refused(_)))
        ));
    }
}
