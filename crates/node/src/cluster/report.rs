//! How what the copies of this node have to tell gets to whoever leads the map.
//!
//! Holds: everything is told again and again until the map shows that it was heard, so a report
//! that is lost, late, doubled, or told to somebody who leads no longer does no harm. A node speaks
//! for itself only.
//!
//! Does not know: what is reported, and what the leader makes of it.

use super::message::Request;
use super::{Cluster, Follow, over};
use crate::transport::{Kind, Transport};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use shoal_core::control::Report;
use shoal_core::ids::MapVersion;
use shoal_core::map::Place;
use shoal_core::{Incarnation, NodeId, PartitionId};
use shoal_meta::MapStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// How often everything is told again.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the leader may take to hear one message.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of reports in one message.
const MAX_BYTES: usize = 1 << 20;
/// How many reports one message carries: each takes less than 32 bytes.
const AT_ONCE: usize = MAX_BYTES / 32;
/// How many reports wait for the leader's planner. What has no room is told again.
const HEARD: usize = 1 << 18;

/// What is told about one copy.
#[derive(Serialize, Deserialize)]
enum Sent {
    Lost(About),
    Proven(About),
    Forgotten(About),
}

#[derive(Serialize, Deserialize)]
struct About {
    node: u32,
    keyspace: u32,
    partition: u16,
    generation: u32,
    index: u64,
}

impl From<&Report> for Sent {
    fn from(report: &Report) -> Self {
        let about = |node: NodeId, place: Place| About {
            node: node.0,
            keyspace: place.keyspace.0,
            partition: place.partition.0,
            generation: place.epoch.generation,
            index: place.epoch.index,
        };
        match *report {
            Report::Lost { node, place } => Self::Lost(about(node, place)),
            Report::Proven { node, place } => Self::Proven(about(node, place)),
            Report::Forgotten { node, place } => Self::Forgotten(about(node, place)),
        }
    }
}

impl From<Sent> for Report {
    fn from(sent: Sent) -> Self {
        let place = |about: &About| Place {
            keyspace: Incarnation(about.keyspace),
            partition: PartitionId(about.partition),
            epoch: MapVersion { generation: about.generation, index: about.index },
        };
        match sent {
            Sent::Lost(about) => Self::Lost { node: NodeId(about.node), place: place(&about) },
            Sent::Proven(about) => Self::Proven { node: NodeId(about.node), place: place(&about) },
            Sent::Forgotten(about) => {
                Self::Forgotten { node: NodeId(about.node), place: place(&about) }
            }
        }
    }
}

/// The bytes of reports: at most [`AT_ONCE`], so that a message stays below [`MAX_BYTES`].
pub(crate) fn encode(reports: &[Report]) -> Vec<u8> {
    debug_assert!(reports.len() <= AT_ONCE, "whoever has more sends several messages");
    let sent: Vec<Sent> = reports.iter().map(Sent::from).collect();
    postcard::to_allocvec(&sent).unwrap_or_default()
}

/// Reads reports; `None` where these are none.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Report>> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    match postcard::take_from_bytes::<Vec<Sent>>(bytes) {
        Ok((sent, [])) => Some(sent.into_iter().map(Report::from).collect()),
        _ => None,
    }
}

/// Says from now on what the copies of this node have to tell: all of it.
pub(crate) fn set(cluster: &Cluster, reports: Vec<Report>) {
    let changed = {
        let mut present = cluster.reports.lock();
        let changed = *present != reports;
        *present = reports;
        changed
    };
    if changed {
        cluster.told.notify_one();
    }
}

/// Takes in what `from` has to tell. Where this node does not lead it is forgotten: it will be told
/// to whoever does.
pub(crate) fn hear(cluster: &Cluster, from: NodeId, reports: Vec<Report>) {
    if cluster.store.leadership().borrow().leader != Some(cluster.me) {
        return;
    }
    let version = cluster.store.current().version;
    if take_in(&cluster.heard, &cluster.follow, version, from, reports) {
        cluster.lead.wake();
    }
}

/// Whether something was taken in from `from` by the leader whose map is of `version`.
fn take_in(
    heard: &Mutex<Vec<Report>>,
    follow: &Follow,
    version: MapVersion,
    from: NodeId,
    mut reports: Vec<Report>,
) -> bool {
    if let Some(newest) = reports.iter().map(|report| report.place().epoch).max()
        && newest > version
    {
        // What is about a later map says nothing about this one; and this node should have it.
        follow.heard(from, newest);
        reports.retain(|report| report.place().epoch <= version);
    }
    reports.retain(|report| node_of(report) == from);
    let mut heard = heard.lock();
    reports.truncate(HEARD.saturating_sub(heard.len()));
    heard.append(&mut reports);
    !heard.is_empty()
}

const fn node_of(report: &Report) -> NodeId {
    match report {
        Report::Lost { node, .. }
        | Report::Proven { node, .. }
        | Report::Forgotten { node, .. } => *node,
    }
}

/// Tells the leader what there is to tell, until the node stops.
pub(crate) async fn run(cluster: Arc<Cluster>) {
    let mut stop = cluster.stop.subscribe();
    tokio::select! {
        biased;
        () = over(&mut stop) => {}
        () = tell_always(&cluster) => {}
    }
}

async fn tell_always(cluster: &Cluster) {
    let mut leadership = cluster.store.leadership();
    loop {
        let reports = cluster.reports.lock().clone();
        let leader = leadership.borrow_and_update().leader;
        match leader {
            // The planner sees this node's own by itself.
            Some(leader) if leader == cluster.me => cluster.lead.wake(),
            Some(leader) if !reports.is_empty() => {
                tell(&*cluster.transport, leader, &reports).await;
            }
            _ => {}
        }
        tokio::select! {
            () = cluster.told.notified() => {}
            changed = leadership.changed() => if changed.is_err() { return },
            () = sleep(PERIOD), if !reports.is_empty() => {}
        }
    }
}

/// Tells `leader` all of it, or as much as it hears.
async fn tell(transport: &dyn Transport, leader: NodeId, reports: &[Report]) {
    for some in reports.chunks(AT_ONCE) {
        let body = Request::Report(encode(some)).encode();
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may be gone by the time of the answer: the node is stopping.
        let reply = Box::new(move |answer: Result<Bytes, _>| drop(sender.send(answer)));
        transport.ask(leader, Kind::Control, body, PATIENCE, reply);
        match receiver.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                return tracing::debug!(%leader, %error, "the leader did not hear a report");
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::memory::MemoryNetwork;
    use crate::transport::{Admission, Answerer, Denied, Identity, Serve};
    use shoal_core::ClusterId;
    use tokio::runtime::Handle;

    fn place(partition: u16, index: u64) -> Place {
        let epoch = MapVersion { generation: 0, index };
        Place { keyspace: Incarnation(3), partition: PartitionId(partition), epoch }
    }

    fn some(node: u32, index: u64) -> Vec<Report> {
        let node = NodeId(node);
        vec![
            Report::Lost { node, place: place(1, index) },
            Report::Proven { node, place: place(2, index) },
            Report::Forgotten { node, place: place(3, index) },
        ]
    }

    #[test]
    fn reports_survive_the_way() {
        let reports = some(5, 9);
        let bytes = encode(&reports);
        assert_eq!(decode(&bytes), Some(reports));
        assert_eq!(decode(&encode(&[])), Some(Vec::new()));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "cut off at {end}");
        }
        assert_eq!(decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(decode(&[7; 40]), None);
    }

    #[test]
    fn a_full_message_keeps_within_its_bounds() {
        let epoch = MapVersion { generation: u32::MAX, index: u64::MAX };
        let partition = PartitionId(u16::MAX);
        let place = Place { keyspace: Incarnation(u32::MAX), partition, epoch };
        let report = Report::Forgotten { node: NodeId(u32::MAX), place };
        let bytes = encode(&vec![report; AT_ONCE]);
        assert!(bytes.len() <= MAX_BYTES);
        assert_eq!(decode(&bytes).map(|reports| reports.len()), Some(AT_ONCE));
    }

    #[test]
    fn only_what_a_node_says_of_itself_and_of_known_maps_is_heard() {
        let (heard, follow) = (Mutex::default(), Follow::default());
        let version = MapVersion { generation: 0, index: 9 };
        let take = |from, reports| take_in(&heard, &follow, version, NodeId(from), reports);
        assert!(!take(4, some(5, 9)));
        assert!(!take(5, some(5, 10)));
        assert!(take(5, [some(5, 10), some(5, 8)].concat()));
        assert_eq!(*heard.lock(), some(5, 8));
        for _ in 0..=HEARD / 3 {
            take(5, some(5, 9));
        }
        assert_eq!(heard.lock().len(), HEARD);
    }

    /// A leader that hears.
    #[derive(Default)]
    struct Ear(Mutex<Vec<(NodeId, usize)>>);

    impl Serve for Ear {
        fn serve(&self, from: NodeId, kind: Kind, body: Bytes, answer: Answerer) {
            assert_eq!(kind, Kind::Control);
            let Ok(Request::Report(bytes)) = Request::decode(&body) else { panic!("{body:?}") };
            let reports = decode(&bytes).expect("they are whole");
            self.0.lock().push((from, reports.len()));
            answer.send(Bytes::new());
        }

        fn admit(&self, _: Identity) -> Result<Admission, Denied> {
            Ok(Admission::Whole)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_leader_hears_all_of_it() {
        let network = MemoryNetwork::new(Handle::current(), 1);
        let ear = Arc::new(Ear::default());
        let identity = |node| Identity { cluster: ClusterId(1), node: NodeId(node), token: 1 };
        let _leader = network.open("leader:1", identity(1), Arc::clone(&ear) as _);
        let speaker = network.open("speaker:1", identity(2), Arc::new(Ear::default()));
        tell(&speaker, NodeId(1), &some(2, 9)).await;
        assert!(ear.0.lock().is_empty(), "nobody knows where it is");
        speaker.know(NodeId(1), "leader:1");
        let report = some(2, 9).remove(0);
        tell(&speaker, NodeId(1), &vec![report; AT_ONCE + 3]).await;
        assert_eq!(*ear.0.lock(), [(NodeId(2), AT_ONCE), (NodeId(2), 3)]);
    }
}
