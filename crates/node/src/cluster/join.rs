//! How a node is let into a cluster: the side that asks, and the side that answers.
//!
//! Any member answers. It gives the join to the map, which decides under which id the node is
//! known, or why not; asking again under the same name and token is told the same id. A node
//! that belongs to no cluster yet, or cannot reach a majority now, answers "not now", and whoever
//! asks goes on asking.
//!
//! Holds: a node is replaced only once the leader of the map has missed it for a while
//! ([`REPLACE_AFTER`]), or heard it say goodbye: what one member sees may be its own broken link, and
//! who is replaced never comes back. Whoever asks keeps name and token durably beforehand ([`Note`](super::identity::Note)).
//! What cannot get better by itself ends the asking, by name, and nothing was changed anywhere.
//!
//! Does not know: the directory, sockets.

use super::Cluster;
use super::liveness::{Sight, Standing};
use super::message::{Answer, Join, Request};
use crate::naming;
use crate::refusal::{Code, Refusal};
use crate::transport::{Denied, Kind, Transport, Unreachable};
use bytes::Bytes;
use shoal_core::NodeId;
use shoal_core::codec;
use shoal_core::ids::ClusterId;
use shoal_core::map::{ClusterMap, Command, MapError, NodeInfo, NodeState, Profile};
use shoal_meta::{MapStore, MetaError};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long one seed may take to answer: longer than a change of the map may.
const PATIENCE: Duration = Duration::from_secs(15);
/// The pauses between two rounds of asking, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// How long the leader of the map must have missed a node before another may take its place: longer
/// than it takes to notice that a node is gone, and than a process takes to be started again.
pub(super) const REPLACE_AFTER: Duration = Duration::from_secs(10);

/// What a node has once it is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// Its id from now on.
    pub(crate) node: NodeId,
    /// The map that has it.
    pub(crate) map: ClusterMap,
}

/// Why a node is not let in. Asking again does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct JoinError {
    /// A stable word for the reason.
    pub code: &'static str,
    /// The reason, and what to do about it.
    pub message: Cow<'static, str>,
}

impl JoinError {
    /// A reason.
    pub(crate) fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn denied(why: Denied, seed: &str) -> Self {
        let what_to_do = match why {
            Denied::WrongSecret => {
                "; give both nodes the same secret with --secret-file or SHOAL_CLUSTER_SECRET"
            }
            Denied::NotLoopback => {
                "; give every node the same secret with --secret-file or SHOAL_CLUSTER_SECRET"
            }
            Denied::ForeignCluster => {
                "; this directory belongs to its own: join with an empty one, named with --data"
            }
            Denied::IncompatibleProtocol => "; use versions of Shoal that are nearer to each other",
            _ => "",
        };
        Self::new(why.name(), format!("{seed}: {why}{what_to_do}"))
    }

    /// What a member refused. A later version may have words that are not known here.
    pub(super) fn refused(code: &str, message: String) -> Self {
        let words = Code::ALL.iter().map(|known| known.row().code);
        match words.into_iter().find(|word| *word == code) {
            Some(code) => Self::new(code, message),
            None => Self::new("join_refused", format!("{code}: {message}")),
        }
    }
}

/// Asks at `seeds`, one after the other and again and again, until one lets the node in.
///
/// # Errors
/// The first [`JoinError`]: of a wrong secret, a name in use and the like. Seeds that are not
/// reached, or that have no cluster yet, are asked again.
pub(crate) async fn ask_in(
    transport: &dyn Transport,
    seeds: &[String],
    name: &str,
    token: u64,
    profile: &Profile,
    replace: bool,
) -> Result<Admitted, JoinError> {
    let join = Join { name: name.to_owned(), token, profile: profile.clone(), replace };
    let body = Request::Join(join).encode();
    Asking::of(seeds).until(transport, &body, |answer| taken_in(answer, token)).await
}

/// What an answer lets a node be; nothing where it is no answer to a join.
fn taken_in(answer: Answer, token: u64) -> Result<Option<Admitted>, JoinError> {
    let Answer::Joined { cluster, node, token: held, map } = answer else { return Ok(None) };
    let map = decoded(&map)?;
    let (cluster, node) = (ClusterId(cluster), NodeId(node));
    let has_it = map.cluster == cluster
        && held == token
        && map.nodes.get(&node).is_some_and(|info| info.token == token);
    if has_it { Ok(Some(Admitted { cluster, node, map })) } else { Ok(None) }
}

fn decoded(map: &[u8]) -> Result<ClusterMap, JoinError> {
    codec::map::decode(map).map_err(|error| {
        JoinError::new("incompatible_map", format!("the cluster's map is not understood: {error}"))
    })
}

/// Seeds that are being asked.
struct Asking {
    seeds: Vec<String>,
    told: Told,
    pause: Duration,
}

/// What each seed last said, so that it is told to people once.
#[derive(Default)]
pub(super) struct Told(BTreeMap<String, String>);

impl Told {
    /// `seed` did not let the node in, and why not.
    pub(super) fn tell(&mut self, seed: &str, why: String) {
        if self.0.get(seed) != Some(&why) {
            tracing::info!(seed, why, "not let in yet; asking again");
            self.0.insert(seed.to_owned(), why);
        }
    }
}

impl Asking {
    fn of(seeds: &[String]) -> Self {
        Self { seeds: seeds.to_vec(), told: Told::default(), pause: PAUSES.0 }
    }

    /// Asks until an answer is `understood` as the one that was hoped for, or is final.
    async fn until<T>(
        mut self,
        transport: &dyn Transport,
        body: &Bytes,
        understood: impl Fn(Answer) -> Result<Option<T>, JoinError>,
    ) -> Result<T, JoinError> {
        loop {
            for seed in self.seeds.clone() {
                let why = match introduce(transport, &seed, body.clone()).await {
                    Ok(Answer::Refused { code, message }) => {
                        return Err(JoinError::refused(&code, message));
                    }
                    Ok(Answer::Busy { why }) => why,
                    Ok(Answer::Homeless(_)) => "it belongs to no cluster yet".to_owned(),
                    Ok(answer) => match understood(answer)? {
                        Some(done) => return Ok(done),
                        None => "its answer makes no sense".to_owned(),
                    },
                    Err(Unreachable::Denied(Denied::SelfConnection)) => {
                        self.leave_out(&seed)?;
                        continue;
                    }
                    Err(Unreachable::Denied(why)) if why != Denied::Crowded => {
                        return Err(JoinError::denied(why, &seed));
                    }
                    Err(Unreachable::Closed) => {
                        return Err(JoinError::new("stopped", "this node is stopping"));
                    }
                    Err(why) => why.to_string(),
                };
                self.told.tell(&seed, why);
            }
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSES.1);
        }
    }

    /// A list of seeds may be the same on every node, and so name the node itself.
    fn leave_out(&mut self, seed: &str) -> Result<(), JoinError> {
        self.seeds.retain(|other| other != seed);
        if self.seeds.is_empty() {
            let message = format!("{seed} is this node itself; name another node with --join");
            return Err(JoinError::new(Denied::SelfConnection.name(), message));
        }
        Ok(())
    }
}

/// Asks one question at `seed` as a node without an id.
pub(super) async fn introduce(
    transport: &dyn Transport,
    seed: &str,
    body: Bytes,
) -> Result<Answer, Unreachable> {
    let (sender, receiver) = oneshot::channel();
    // Whoever asks may have been cut off.
    let reply = Box::new(move |told| drop(sender.send(told)));
    transport.introduce(seed, body, PATIENCE, reply);
    let told = receiver.await.unwrap_or(Err(Unreachable::Lost))?;
    Answer::decode(&told).map_err(|error| {
        tracing::warn!(seed, %error, "the answer of a seed is not understood");
        Unreachable::Failed
    })
}

/// The outcome of a change of the map.
pub(crate) type Proposed<'a> =
    Pin<Box<dyn Future<Output = Result<Arc<ClusterMap>, MetaError>> + Send + 'a>>;

/// What letting nodes in asks of a cluster.
pub(crate) trait Register: Send + Sync {
    /// The map as it is known here.
    fn map(&self) -> Arc<ClusterMap>;

    /// Puts a change in order, wherever that is decided.
    fn propose<'a>(&'a self, command: &'a Command) -> Proposed<'a>;

    /// How a node stands.
    fn sight(&self, node: NodeId) -> Option<Sight>;

    /// What the leader of the map says to a node being replaced: nothing against it, or why not.
    fn may_replace(&self, node: NodeId) -> Judged<'_>;
}

/// What somebody has against it that a node is replaced, if anything.
pub(crate) type Judged<'a> = Pin<Box<dyn Future<Output = Option<Answer>> + Send + 'a>>;

impl Register for Cluster {
    fn map(&self) -> Arc<ClusterMap> {
        self.store.current()
    }

    fn propose<'a>(&'a self, command: &'a Command) -> Proposed<'a> {
        Box::pin(self.store.propose_async(command))
    }

    fn sight(&self, node: NodeId) -> Option<Sight> {
        self.liveness.seen().into_iter().find(|sight| sight.node == node)
    }

    fn may_replace(&self, node: NodeId) -> Judged<'_> {
        Box::pin(async move {
            match self.store.find_leader().await {
                Some(leader) if leader == self.me => may_replace(self, node),
                Some(leader) => ask_leader(&*self.transport, leader, node).await,
                None => Some(busy("no majority of the voters can be reached".to_owned())),
            }
        })
    }
}

/// Asks `leader` what it has against it that `node` is replaced.
async fn ask_leader(transport: &dyn Transport, leader: NodeId, node: NodeId) -> Option<Answer> {
    let (tell, told) = oneshot::channel();
    let body = Request::Replace { node: node.0 }.encode();
    // Whoever asks may have been cut off.
    let reply = Box::new(move |answer| drop(tell.send(answer)));
    transport.ask(leader, Kind::Control, body, PATIENCE, reply);
    let answer = told.await.ok().and_then(Result::ok);
    match answer.and_then(|bytes| Answer::decode(&bytes).ok()) {
        Some(Answer::Heard) => None,
        Some(answer @ (Answer::Refused { .. } | Answer::Busy { .. })) => Some(answer),
        _ => Some(busy("the leader of the map did not say whether it is gone".to_owned())),
    }
}

/// What this node, as the leader of the map, has against it that `node` is replaced.
pub(super) fn may_replace(register: &dyn Register, node: NodeId) -> Option<Answer> {
    let map = register.map();
    let name = map.nodes.get(&node).map_or_else(|| node.to_string(), |info| info.name.clone());
    let is_joining = map.nodes.get(&node).is_some_and(|info| info.state == NodeState::Joining);
    let code = Code::NameInUse.row().code;
    match register.sight(node) {
        // It never started, or said goodbye: nothing is guessed.
        Some(Sight { standing: Standing::Left, .. }) => None,
        _ if is_joining => None,
        Some(Sight { standing: Standing::Up | Standing::Suspect, .. }) => {
            let message = format!(
                "{name} is up; stop it, or start with another --name: a node is replaced once it \
                 has been down for {}",
                spoken(REPLACE_AFTER)
            );
            Some(Answer::Refused { code: code.to_owned(), message })
        }
        Some(Sight { lasted, .. }) if lasted >= REPLACE_AFTER => None,
        Some(Sight { lasted, .. }) => Some(busy(format!(
            "{code}: {name} was seen {} ago; a node is replaced once it has been down for {}",
            spoken(lasted),
            spoken(REPLACE_AFTER)
        ))),
        None => Some(busy(format!("{code}: it is not known yet whether {name} is up"))),
    }
}

/// Answers a node that wants to be let in.
pub(crate) async fn answer_join(register: &dyn Register, join: Join) -> Answer {
    // The map known here may be older than a name's last change of hands, once.
    for last in [false, true] {
        let map = register.map();
        let holder = map.node_called(&join.name);
        if holder.is_some_and(|(_, info)| info.token == join.token) {
            // It asks again, and the map need not change for that.
            return joined(&map, &join);
        }
        let replaces = holder.filter(|_| join.replace).map(|(node, _)| node);
        if let Some(node) = replaces
            && let Some(answer) = register.may_replace(node).await
        {
            return answer;
        }
        let Join { name, token, profile, .. } = join.clone();
        let command = Command::Join { name, token, profile, replaces };
        match register.propose(&command).await {
            Ok(map) => return joined(&map, &join),
            Err(MetaError::Refused(MapError::NameInUse { .. })) if join.replace && !last => {}
            Err(error) => return refused(register, error),
        }
    }
    busy("the name changes hands".to_owned())
}

fn joined(map: &ClusterMap, join: &Join) -> Answer {
    match map.node_called(&join.name) {
        Some((node, info)) if info.token == join.token => Answer::Joined {
            cluster: map.cluster.0,
            node: node.0,
            token: info.token,
            map: codec::map::encode(map),
        },
        _ => busy(format!("{} was let in, and is gone again already", join.name)),
    }
}

fn busy(why: String) -> Answer {
    Answer::Busy { why }
}

/// What the map's refusal is for the node that asked.
fn refused(register: &dyn Register, error: MetaError) -> Answer {
    let MetaError::Refused(why) = error else {
        // Whatever keeps the map from changing may pass, or another member may do better.
        return busy(error.to_string());
    };
    if let MapError::NameInUse { name, node } = &why {
        let map = register.map();
        let message = name_in_use(name, map.nodes.get(node), register.sight(*node));
        return Answer::Refused { code: Code::NameInUse.row().code.to_owned(), message };
    }
    let is_last = matches!(why, MapError::LastReplica { .. });
    let Refusal { code, message } = naming::refused(&register.map(), MetaError::Refused(why));
    let message = match is_last {
        true => format!("{message}; drop that keyspace first, or start the node with its data"),
        false => message.into_owned(),
    };
    Answer::Refused { code: code.row().code.to_owned(), message }
}

/// Who has a name, how that node stands, and what to do.
fn name_in_use(name: &str, info: Option<&NodeInfo>, sight: Option<Sight>) -> String {
    let replace = format!("start with --replace {name} to take its place for good");
    if info.is_some_and(|info| info.state == NodeState::Joining) {
        return format!("{name} was let in and has not started yet; if it never will, {replace}");
    }
    match sight {
        Some(Sight { standing: Standing::Up | Standing::Suspect, .. }) => {
            format!("{name} is up; start with another --name")
        }
        Some(Sight { standing: Standing::Left, lasted, .. }) => {
            format!("{name} was stopped {} ago; start it again, or {replace}", spoken(lasted))
        }
        Some(Sight { lasted, .. }) => {
            format!("{name} has been down for {}; {replace}", spoken(lasted))
        }
        None => format!("{name} is a node of this cluster; {replace}"),
    }
}

/// A time as people say it.
fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
