//! One run: faults and load, then calm, then judgement.

use crate::client::{Request, Told};
use crate::options::Options;
use crate::oracle::{self, Counts};
use crate::world::World;
use bytes::Bytes;
use shoal_core::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How long the faulty phase may last, in milliseconds of virtual time.
const STORM_MS: u64 = 600_000;
/// How long the calm lasts before the last questions are asked, in milliseconds.
const CALM_MS: u64 = 40_000;

/// What a run that held came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// A digest of everything that happened.
    pub trace: u64,
    /// Requests that clients made.
    pub requests: u64,
    /// Those that were answered as asked.
    pub answered: u64,
    /// Changes of owners that were finished.
    pub cut_overs: u64,
    /// Dead records that were purged everywhere.
    pub purged: u64,
    /// How counters fared.
    pub counts: Counts,
    /// Which rare branches were reached, and how often.
    pub probes: BTreeMap<&'static str, u64>,
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What the run was made of.
    pub options: Box<Options>,
    /// The promise, and how.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.options.family.name();
        writeln!(f, "seed {} of {family}: {}", self.options.seed, self.what)?;
        write!(f, "  replay: {}", self.options.replay())
    }
}

/// Makes one run.
///
/// # Errors
/// [`Failure`] where a promise was broken.
pub fn run(options: Options) -> Result<Report, Failure> {
    let _ = shoal_core::probe::take();
    let mut world = World::new(options.clone());
    let outcome = weather(&mut world);
    let probes = shoal_core::probe::take();
    outcome.map_err(|what| Failure { options: Box::new(options), what })?;
    let good = |told: &Told| !matches!(told, Told::Refused | Told::Unknown);
    let answered = world
        .history
        .iter()
        .filter(|entry| entry.told.as_ref().is_some_and(|(_, told)| good(told)));
    Ok(Report {
        trace: world.trace(),
        requests: world.history.len() as u64,
        answered: answered.count() as u64,
        cut_overs: world.cut_overs,
        purged: world.purged,
        counts: oracle::count(&world),
        probes,
    })
}

fn weather(world: &mut World) -> Result<(), String> {
    while world.history.len() < world.options.requests && world.step(STORM_MS) {}
    sound(world)?;
    calm(world);
    let until_ms = world.elapsed_ms + CALM_MS;
    while world.step(until_ms) {}
    sound(world)?;
    last_questions(world)?;
    let counts = oracle::count(world);
    if counts.steady_wrong > 0 {
        return Err(format!("counters: {counts:?}"));
    }
    oracle::judge(world)
}

fn sound(world: &World) -> Result<(), String> {
    world.broken.clone().map_or(Ok(()), Err)
}

/// Faults end, everyone comes back, and everyone is believed to be up.
fn calm(world: &mut World) {
    world.is_calm = true;
    world.note_time();
    // Nobody asks for more than was asked so far.
    world.options.requests = world.history.len();
    world.network.calm();
    for id in (1..=world.options.nodes).map(NodeId) {
        world.start(id);
        world.node(id).suspects.clear();
        world.node(id).offset_ms = 0;
        world.node(id).shelf.full = false;
        world.pull_map(id);
    }
}

/// Every key is read at quorum from every node, and must be answered.
fn last_questions(world: &mut World) -> Result<(), String> {
    for id in (1..=world.options.nodes).map(NodeId) {
        world.node(id).suspects.clear();
    }
    let keys: BTreeSet<Bytes> =
        world.history.iter().flat_map(|entry| entry.request.keys.iter().cloned()).collect();
    let first = world.history.len();
    for key in keys {
        world.ask_for(0, &Request::read(key));
    }
    let until_ms = world.elapsed_ms + CALM_MS;
    while world.step(until_ms) {}
    for entry in &world.history[first..] {
        if !matches!(entry.told, Some((_, Told::Found { .. }))) {
            let partition = world.layout.place(entry.request.key()).partition;
            let copies: Vec<_> = world
                .nodes
                .iter()
                .map(|node| &node.copies[partition].replica)
                .map(|replica| (replica.member(), replica.owners().epoch))
                .collect();
            return Err(format!(
                "liveness: {:?} cannot be read in the calm: {:?}; owners {:?}, copies {copies:?}",
                entry.request.key(),
                entry.told,
                world.map.newest(partition),
            ));
        }
    }
    Ok(())
}
