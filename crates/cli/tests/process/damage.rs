//! Flipped bits and cut files in every kind of file of a stopped node (F43, F44).
//!
//! A node that meets damage may refuse to start, naming it, or start and answer with an error for
//! what is damaged. It never hands out a wrong value, nor "nothing" for a key that had one.

use crate::client::Client;
use crate::folder::{Folder, copy};
use crate::history::Held;
use crate::node::{Launch, Node};
use crate::reply::{Reply, shown};
use crate::settings::{is_full, now_ms, say, seed};
use crate::workload::{Worker, shared_counters};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const OPERATIONS: u64 = 300;
/// More than the write buffer holds, so that the sorted store has files too.
const FILL: (usize, usize) = (200, 65_536);
/// Words of which a refusal must have one, if it does not name the file.
const NAMED: &[&str] = &["damage", "corrupt", "checksum"];

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// One bit of the byte at this offset is turned.
    Flip(u64),
    /// The file ends at this length.
    Cut(u64),
}

impl Damage {
    fn apply(self, path: &Path) {
        let file = fs::File::options().read(true).write(true).open(path).expect("the file");
        match self {
            Self::Cut(length) => file.set_len(length).expect("cut"),
            Self::Flip(at) => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).expect("within the file");
                file.write_all_at(&[byte[0] ^ (1 << (at % 8))], at).expect("written back");
            }
        }
    }
}

#[test]
fn damage_is_refused_or_reported_and_never_served() {
    let mut rng = Rng::with_seed(seed("damage"));
    let folder = Folder::new("damage");
    let good = folder.path().join("good");
    let worker = stopped_node(&good, &mut rng);
    let files = kinds(&good);
    let (mut refused, mut reported, mut unnoticed) = (0, 0, 0);
    let mut wrong = Vec::new();
    for (kind, paths) in &files {
        for (path, damage) in damages(&good, paths, &mut rng) {
            let tried = folder.path().join("tried");
            copy(&good, &tried);
            damage.apply(&tried.join(&path));
            match try_damaged(&tried, &path, &worker) {
                Ok(Met::Refused) => refused += 1,
                Ok(Met::Reported) => reported += 1,
                Ok(Met::Unharmed) => unnoticed += 1,
                Err(why) => wrong.push(format!("{kind}: {damage:?} in {}: {why}", path.display())),
            }
            fs::remove_dir_all(&tried).expect("the copy was ours");
        }
    }
    say(&format!(
        "damage: {} kinds of file; {refused} refusals, {reported} reported on reading, \
         {unnoticed} where nothing was lost",
        files.len()
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(refused > 0, "no damage was noticed at all");
}

/// A node's folder after work and an orderly end.
fn stopped_node(data: &Path, rng: &mut Rng) -> Worker {
    let node = Launch::new(data).start().unwrap_or_else(|refused| panic!("{}", refused.log));
    let mut worker = Worker::new(0, 20, 5_000);
    let work = |worker: &mut Worker, rng: &mut Rng| {
        let until = worker.acknowledged + OPERATIONS;
        worker.work(&node.address, &shared_counters(), rng, &|| 1, until).expect("good answers");
    };
    work(&mut worker, rng);
    worker.fill(&node.address, FILL, rng, &|| 1).expect("good answers");
    work(&mut worker, rng);
    assert!(node.stop().success(), "SIGTERM is an orderly end");
    worker
}

/// The files by kind: by their path, whatever numbers are in it.
fn kinds(data: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut kinds: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut open = vec![data.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the node") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let path = path.strip_prefix(data).expect("below the folder").to_path_buf();
            let kind = path.to_string_lossy().replace(|letter: char| letter.is_ascii_digit(), "#");
            kinds.entry(kind).or_default().push(path);
        }
    }
    for paths in kinds.values_mut() {
        paths.sort();
    }
    kinds
}

/// What to try on the files of one kind: every class of offsets, on one of them or on all.
fn damages(data: &Path, paths: &[PathBuf], rng: &mut Rng) -> Vec<(PathBuf, Damage)> {
    let several = if is_full() { paths.len().min(4) } else { 1 };
    let mut all = Vec::new();
    for path in &paths[paths.len() - several..] {
        let length = fs::metadata(data.join(path)).expect("the file").len();
        if length == 0 {
            continue;
        }
        let written = written_length(&data.join(path)).max(1);
        let mut offsets = vec![0, written / 2, written - 1];
        let mut lengths = vec![0, length / 2, length - 1];
        if is_full() {
            offsets.extend([length.min(9) - 1, length - 1, length.min(65) - 1]);
            offsets.extend((0..6).map(|_| rng.u64(..written)));
            lengths.extend([rng.u64(..length), rng.u64(..written)]);
        }
        all.extend(offsets.into_iter().map(|at| (path.clone(), Damage::Flip(at))));
        all.extend(lengths.into_iter().map(|to| (path.clone(), Damage::Cut(to))));
    }
    all
}

/// The length without the zeros at the end.
fn written_length(path: &Path) -> u64 {
    let bytes = fs::read(path).expect("the file");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// How a node met damage.
enum Met {
    Refused,
    Reported,
    Unharmed,
}

fn try_damaged(data: &Path, damaged: &Path, worker: &Worker) -> Result<Met, String> {
    match Launch::new(data).start() {
        Ok(node) => {
            let read = read_all(&node, worker);
            let log = node.log();
            drop(node);
            if log.contains("panicked at") {
                return Err(format!("it panicked:\n{log}"));
            }
            read.map_err(|why| format!("{why}\n{log}"))
        }
        Err(refused) => {
            let log = refused.log.to_lowercase();
            let name = damaged.file_name().expect("a file has a name").to_string_lossy();
            let named =
                log.contains(&name.to_lowercase()) || NAMED.iter().any(|word| log.contains(word));
            if log.contains("panicked at") || !named {
                return Err(format!("it does not say what is wrong:\n{}", refused.log));
            }
            Ok(Met::Refused)
        }
    }
}

/// Reads every key. An error is fine; a value must be right.
fn read_all(node: &Node, worker: &Worker) -> Result<Met, String> {
    let told = |error: std::io::Error| error.to_string();
    let mut client = Client::connect(&node.address).map_err(told)?;
    client.line(&format!("SELECT {}", worker.database())).map_err(told)?;
    let mut met = Met::Unharmed;
    for (key, held) in worker.everything() {
        let asked_ms = now_ms();
        let reply = client.ask(&[b"GET", key]).map_err(told)?;
        if reply.error().is_some() {
            met = Met::Reported;
        } else if !is_right(&reply, held, asked_ms) {
            let held = held.map_or("nothing".to_owned(), |held| shown(&held.value));
            return Err(format!("{} is {reply:?}, was {held}", shown(key)));
        }
    }
    Ok(met)
}

fn is_right(reply: &Reply, held: Option<&Held>, asked_ms: i64) -> bool {
    let Some(held) = held else { return reply.is_nil() };
    // What was to expire by now, or about now, may be gone.
    let gone = held.expires_ms.is_some_and(|at| at <= asked_ms + 100) && reply.is_nil();
    gone || reply.bulk() == Some(&held.value)
}
