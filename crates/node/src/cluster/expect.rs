//! How nodes that belong to no cluster found one together, once there are so many of them.
//!
//! Each has a number, drawn at random once for its directory. They tell each other the numbers
//! that they have heard of. Who has heard of as many as are expected promises to join the one of
//! the lowest number, durably and only once. Who has as many promises as are expected, its own
//! among them, founds the cluster, and the others join it. Whoever hears of a node that has a
//! cluster joins that instead.
//!
//! Holds: nobody who asks waits for a disk. Of as many nodes as are expected no two can found a cluster, whatever is lost and
//! whoever starts again, since each promises once and all promises are needed. A node whose
//! directory was lost has another number; if it was promised to, the others wait for a person.
//!
//! Does not know: sockets, what founding and joining are.

use super::identity::Note;
use super::join::{self, JoinError, Told};
use super::message::{Answer, Homeless, Request};
use crate::transport::{Denied, Transport, Unreachable};
use parking_lot::Mutex;
use shoal_storage::directory::DirectoryError;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The pause between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(500);
/// The most numbers that are remembered: more than can be expected.
const REMEMBERED: usize = 256;

/// What a node is to do that waited for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// It founds the cluster.
    Found,
    /// There is a cluster, which it asks to be let in.
    Join,
}

/// A node that waits for others.
pub(crate) struct Waiting {
    directory: PathBuf,
    nodes: u16,
    heard: Mutex<Heard>,
}

struct Heard {
    note: Note,
    /// The numbers of all that were heard of, its own among them.
    known: BTreeSet<u64>,
    /// Those who have promised to join this one.
    promises: BTreeSet<u64>,
}

impl Waiting {
    /// Waits in `directory`, whose note is `note`, until there are `nodes`.
    pub(crate) fn new(directory: &Path, note: Note, nodes: u16) -> Self {
        let known = BTreeSet::from([note.boot]);
        let heard = Heard { note, known, promises: BTreeSet::new() };
        Self { directory: directory.to_owned(), nodes, heard: Mutex::new(heard) }
    }

    /// Answers another one that waits.
    pub(crate) fn answer(&self, other: &Homeless) -> Answer {
        self.hear(other);
        Answer::Homeless(self.says())
    }

    /// Asks at `seeds`, again and again, until it is known how the node begins.
    ///
    /// # Errors
    /// [`JoinError`] where a seed refuses for good, or a promise cannot be kept durably.
    pub(crate) async fn run(
        &self,
        transport: &dyn Transport,
        seeds: &[String],
    ) -> Result<Beginning, JoinError> {
        let mut told = Told::default();
        loop {
            for seed in seeds {
                let body = Request::Expect(self.says()).encode();
                match join::introduce(transport, seed, body).await {
                    Ok(Answer::Homeless(other)) => self.hear(&other),
                    Ok(Answer::Heard) => return Ok(Beginning::Join),
                    Ok(Answer::Refused { code, message }) => {
                        return Err(JoinError::refused(&code, message));
                    }
                    Err(Unreachable::Closed) => {
                        return Err(JoinError::new("stopped", "this node is stopping"));
                    }
                    // A list of seeds may be the same on every node, and so name the node itself.
                    Err(Unreachable::Denied(Denied::SelfConnection)) => {}
                    Err(Unreachable::Denied(why)) if why != Denied::Crowded => {
                        return Err(JoinError::denied(why, seed));
                    }
                    // It is starting, or cannot be reached: it is not counted.
                    Ok(Answer::Busy { why }) => told.tell(seed, why),
                    Ok(_) => told.tell(seed, "its answer makes no sense".to_owned()),
                    Err(why) => told.tell(seed, why.to_string()),
                }
            }
            self.promise().await?;
            if self.is_chosen() {
                return Ok(Beginning::Found);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn says(&self) -> Homeless {
        let heard = self.heard.lock();
        Homeless {
            boot: heard.note.boot,
            nodes: self.nodes,
            known: heard.known.iter().copied().collect(),
            promised: heard.note.promised,
        }
    }

    fn hear(&self, other: &Homeless) {
        let mut heard = self.heard.lock();
        for number in other.known.iter().chain([&other.boot]).copied().filter(|number| *number != 0)
        {
            if heard.known.len() < REMEMBERED && heard.known.insert(number) {
                tracing::info!(heard_of = heard.known.len(), expected = self.nodes, "waiting");
            }
        }
        if other.promised == Some(heard.note.boot) && heard.promises.len() < REMEMBERED {
            heard.promises.insert(other.boot);
        }
    }

    /// Promises to join the lowest, if there are enough to choose from and it has not yet.
    /// Nobody is told of it before it is durable.
    async fn promise(&self) -> Result<(), JoinError> {
        let Some((mut note, lowest)) = self.is_to_promise() else { return Ok(()) };
        let directory = self.directory.clone();
        let promising = tokio::task::spawn_blocking(move || {
            note.promise(&directory, lowest)?;
            Ok(note)
        });
        let promised: Result<Note, DirectoryError> = match promising.await {
            Ok(promised) => promised,
            Err(_) => return Err(JoinError::new("stopped", "this node is stopping")),
        };
        let note = promised.map_err(|error| JoinError::new(error.code(), error.to_string()))?;
        // Nobody else changes it: this is the one place where a promise is made.
        self.heard.lock().note = note;
        Ok(())
    }

    /// Whom to promise, if it is time for that.
    fn is_to_promise(&self) -> Option<(Note, u64)> {
        let heard = self.heard.lock();
        let enough = heard.known.len() >= usize::from(self.nodes);
        let lowest = heard.known.first().copied()?;
        (heard.note.promised.is_none() && enough).then(|| (heard.note.clone(), lowest))
    }

    /// Whether so many have promised to join this one.
    fn is_chosen(&self) -> bool {
        let heard = self.heard.lock();
        let own = heard.note.boot;
        let others = heard.promises.iter().filter(|number| **number != own).count();
        let itself = usize::from(heard.note.promised == Some(own));
        others + itself >= usize::from(self.nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::memory::{MemoryNetwork, MemoryTransport};
    use crate::transport::{Admission, Answerer, Identity, Kind, Serve};
    use bytes::Bytes;
    use shoal_core::NodeId;
    use std::sync::Arc;
    use tempfile::TempDir;
    use tokio::runtime::Handle;
    use tokio::time::timeout;

    const LONG: Duration = Duration::from_secs(60);

    /// A node that waits, or that has a cluster.
    struct Door(Option<Arc<Waiting>>);

    impl Serve for Door {
        fn serve(&self, _: NodeId, _: Kind, body: Bytes, answer: Answerer) {
            let request = Request::decode(&body).expect("it is understood");
            let given = match (request, &self.0) {
                (Request::Expect(other), Some(waiting)) => waiting.answer(&other),
                _ => Answer::Heard,
            };
            answer.send(given.encode());
        }

        fn admit(&self, _: Identity) -> Result<Admission, Denied> {
            Ok(Admission::ControlOnly)
        }
    }

    struct Host {
        waiting: Arc<Waiting>,
        transport: MemoryTransport,
    }

    fn seeds(nodes: u16) -> Vec<String> {
        (0..nodes).map(|node| format!("n{node}:1")).collect()
    }

    /// The node of a directory, started.
    fn start(network: &Arc<MemoryNetwork>, folder: &TempDir, node: u16, nodes: u16) -> Host {
        let note = Note::take(folder.path(), &format!("n{node}")).expect("a note");
        let waiting = Arc::new(Waiting::new(folder.path(), note, nodes));
        let door = Arc::new(Door(Some(Arc::clone(&waiting))));
        let transport = network.open(&seeds(nodes)[usize::from(node)], Identity::default(), door);
        Host { waiting, transport }
    }

    impl Host {
        async fn run(&self, nodes: u16, patience: Duration) -> Option<Beginning> {
            let seeds = seeds(nodes);
            let run = self.waiting.run(&self.transport, &seeds);
            timeout(patience, run).await.ok().map(|outcome| outcome.expect("nobody refuses"))
        }

        fn boot(&self) -> u64 {
            self.waiting.says().boot
        }
    }

    fn folders(nodes: u16) -> Vec<TempDir> {
        (0..nodes).map(|_| tempfile::tempdir().expect("a folder")).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_three_founds_and_it_is_the_lowest() {
        let (network, folders) = (MemoryNetwork::new(Handle::current(), 1), folders(3));
        let hosts: Vec<_> = folders
            .iter()
            .zip(0..)
            .map(|(folder, node)| start(&network, folder, node, 3))
            .collect();
        let lowest = hosts.iter().map(Host::boot).min();
        let runs =
            tokio::join!(hosts[0].run(3, LONG), hosts[1].run(3, LONG), hosts[2].run(3, LONG));
        for (host, outcome) in hosts.iter().zip([runs.0, runs.1, runs.2]) {
            let founds = Some(host.boot()) == lowest;
            assert_eq!(outcome, founds.then_some(Beginning::Found));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_of_three_wait() {
        let (network, folders) = (MemoryNetwork::new(Handle::current(), 1), folders(3));
        let (a, b) = (start(&network, &folders[0], 0, 3), start(&network, &folders[1], 1, 3));
        assert_eq!(tokio::join!(a.run(3, LONG), b.run(3, LONG)), (None, None));
        assert_eq!((a.waiting.says().promised, b.waiting.says().promised), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_with_a_cluster_is_joined_whatever_was_promised() {
        let (network, folders) = (MemoryNetwork::new(Handle::current(), 1), folders(3));
        let a = start(&network, &folders[0], 0, 3);
        let member = Arc::new(Door(None));
        let _member = network.open("n2:1", Identity::default(), member);
        assert_eq!(a.run(3, LONG).await, Some(Beginning::Join));
    }

    #[tokio::test(start_paused = true)]
    async fn a_promise_outlives_a_restart_and_is_given_once() {
        let (network, folders) = (MemoryNetwork::new(Handle::current(), 1), folders(2));
        let (a, b) = (start(&network, &folders[0], 0, 2), start(&network, &folders[1], 1, 2));
        let both = tokio::join!(a.run(2, LONG), b.run(2, LONG));
        let (chosen, other) = if a.boot() < b.boot() { (0, 1) } else { (1, 0) };
        assert_eq!(<[_; 2]>::from(both)[chosen], Some(Beginning::Found));
        let promised = [&a, &b][chosen].boot();
        drop((a, b));
        // The chosen one's directory is lost, and its new number may be lower or higher.
        let fresh = tempfile::tempdir().expect("a folder");
        let as_node = u16::try_from(chosen).expect("0 or 1");
        let wiped = start(&network, &fresh, as_node, 2);
        let kept = start(&network, &folders[other], 1 - as_node, 2);
        let ends = tokio::join!(wiped.run(2, LONG), kept.run(2, LONG));
        assert_eq!(ends, (None, None), "nobody founds a second one");
        assert_eq!(kept.waiting.says().promised, Some(promised));
    }
}
