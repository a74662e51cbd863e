//! One failing call: every write, sync, opening and renaming of a short run fails once, with an
//! I/O error and with a full disk (F42, F45).
//!
//! The node may refuse to start, or a request, by name; it goes on reading, ends when it is told
//! to, and the next start has everything that was acknowledged.

use crate::client::Client;
use crate::folder::{Folder, copy};
use crate::node::{Launch, Node};
use crate::reply::Reply;
use crate::settings::{number, say, seed, skipped};
use crate::shim::Shim;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The system's numbers.
const ERRORS: [(&str, i32); 2] = [("EIO", 5), ("ENOSPC", 28)];
/// As many nodes at a time as the smallest machine has processors.
const CHECKERS: usize = 2;
/// More calls than the short run makes.
const MOST_CALLS: u64 = 2_000;
/// After so many failures the rest would teach nothing.
const ENOUGH: usize = 3;
/// Words of which a refusal must have one.
const NAMED: &[&str] = &[
    "input/output error",
    "no space left",
    "os error",
    "disk_full",
    "diskfull",
    "the disk is full",
];
/// How long the node may take to answer while something fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a key may hold: one value if the last write was acknowledged.
type Held = BTreeMap<(u8, String), Vec<Option<Vec<u8>>>>;

/// Where a run begins: with no folder, or with that of a node that was killed at work.
struct Begun {
    name: &'static str,
    from: Option<PathBuf>,
    held: Held,
}

/// What became of a run.
enum Met {
    /// There were not that many calls.
    NotReached,
    /// The call failed, and was met like this.
    Call(&'static str),
}

#[test]
fn a_call_that_fails_is_named_and_loses_nothing() {
    let mut rng = fastrand::Rng::with_seed(seed("failing calls"));
    // What the disk itself would do is not what this is about.
    let folder = Folder::in_memory("failing");
    let shim = match Shim::build(&folder) {
        Ok(shim) => shim,
        Err(why) => return skipped(&format!("failing calls of a whole node: {why}")),
    };
    let begun = [
        Begun { name: "first start", from: None, held: Held::new() },
        killed_at_work(&folder.path().join("base")),
    ];
    let mut wrong = Vec::new();
    for begun in &begun {
        for (error, errno) in ERRORS {
            let mut told = BTreeMap::new();
            let calls = try_all(&shim, &folder, begun, errno, &mut rng, &mut told, &mut wrong);
            say(&format!("failing calls: {}, {error}: {calls} runs, {told:?}", begun.name));
            assert!(wrong.is_empty(), "{error}: {}", wrong.join("\n\n"));
            assert!(told.len() > 1, "all calls were met alike: {told:?}");
        }
    }
}

/// The folder of a node that has written, checkpointed, written more, and was killed.
fn killed_at_work(base: &Path) -> Begun {
    let launch = Launch::new(base);
    let node = launch.start().unwrap_or_else(|refused| panic!("{}", refused.log));
    let mut held = Held::new();
    work(&node, &mut held, "base").expect("nothing fails");
    assert!(held.values().all(|values| values.len() == 1), "everything was acknowledged");
    node.kill();
    Begun { name: "after a kill", from: Some(base.to_owned()), held }
}

/// Lets one call after the other fail; how many runs that were.
fn try_all(
    shim: &Shim,
    folder: &Folder,
    begun: &Begun,
    errno: i32,
    rng: &mut fastrand::Rng,
    told: &mut BTreeMap<&'static str, usize>,
    wrong: &mut Vec<String>,
) -> usize {
    // Every call in a long run, one in a few otherwise.
    let step = number("SHOAL_FAILING_STEP", 12, 1).max(1);
    let next = AtomicU64::new(1 + rng.u64(..step));
    let outcomes = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for checker in 0..CHECKERS {
            let (next, outcomes) = (&next, &outcomes);
            scope.spawn(move || {
                loop {
                    let nth = next.fetch_add(step, Ordering::SeqCst);
                    let place = folder.path().join(format!("run-{checker}"));
                    fs::create_dir_all(&place).expect("a folder of the run");
                    let outcome = try_one(shim, &place, begun, (nth, errno));
                    let _kept_for_the_next = fs::remove_dir_all(&place);
                    let mut outcomes = outcomes.lock().expect("no checker panics");
                    let bad = outcomes.iter().filter(|(_, outcome)| Result::is_err(outcome));
                    let end = matches!(outcome, Ok(Met::NotReached)) || bad.count() >= ENOUGH;
                    outcomes.push((nth, outcome));
                    if end || nth > MOST_CALLS {
                        return;
                    }
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().expect("no checker panics");
    let runs = outcomes.len();
    for (nth, outcome) in outcomes {
        match outcome {
            Ok(Met::NotReached) => {}
            Ok(Met::Call(how)) => *told.entry(how).or_default() += 1,
            Err(why) => wrong.push(format!("call {nth}, {}: {why}", begun.name)),
        }
    }
    runs
}

fn try_one(shim: &Shim, place: &Path, begun: &Begun, failing: (u64, i32)) -> Result<Met, String> {
    let (data, note) = (place.join("data"), place.join("failed"));
    if let Some(from) = &begun.from {
        copy(from, &data);
    }
    let mut held = begun.held.clone();
    let plain = Launch::new(&data);
    let met = match shim.fail(plain.clone(), &data, failing, &note).start() {
        Err(refused) => {
            if refused.log.contains("panicked at") || !is_named(&refused.log) {
                return Err(format!(
                    "the refusal ({}) does not say why:\n{}",
                    refused.status, refused.log
                ));
            }
            "the start was refused"
        }
        Ok(node) => {
            let worked = work(&node, &mut held, "run");
            let read = check(&node, &held, false);
            let (status, log) = node.stop_in_trouble();
            let told = |why: String| format!("{why}\n{log}");
            let refused = worked.map_err(told)?;
            read.map_err(told)?;
            if !status.success() && !is_named(&log) {
                return Err(told(format!("it ended with {status} and does not say why")));
            }
            match (refused, status.success()) {
                (0, true) => "nothing was refused",
                (0, false) => "the end was not clean",
                (_, _) => "requests were refused",
            }
        }
    };
    let call = fs::read_to_string(&note).ok();
    let told = |why: String| format!("{}: {why}", call.as_deref().unwrap_or("no failing call"));
    for life in ["first", "second"] {
        let node = plain.start().map_err(|refused| {
            told(format!("{met}; the {life} start after it is refused:\n{}", refused.log))
        })?;
        let read = check(&node, &held, true);
        let log = node.log();
        node.kill();
        read.map_err(|why| told(format!("{met}; the {life} life after it: {why}\n{log}")))?;
    }
    Ok(call.map_or(Met::NotReached, |_| Met::Call(met)))
}

fn is_named(log: &str) -> bool {
    let log = log.to_lowercase();
    NAMED.iter().any(|word| log.contains(word))
}

/// A bit of everything that changes files; how many requests were refused. An answer that should
/// not be is an error.
fn work(node: &Node, held: &mut Held, who: &str) -> Result<usize, String> {
    let mut client = connect(node)?;
    let mut refused = 0;
    for round in 0..3 {
        // The second database is made by its first write, which changes the map.
        for database in 0..2 {
            client.line(&format!("SELECT {database}")).map_err(|error| error.to_string())?;
            for key in 0..4 {
                let value = format!("{who}.{round}.{database}.{key}").repeat(1 + key * 100);
                let name = format!("{who}:{key}");
                let value = (key != round).then(|| value.into_bytes());
                let reply = match &value {
                    Some(value) => client.ask(&[b"SET", name.as_bytes(), value]),
                    None => client.ask(&[b"DEL", name.as_bytes()]),
                };
                let reply = reply.map_err(|error| format!("{name}: {error}"))?;
                let may = held.entry((database, name)).or_insert_with(|| vec![None]);
                may.push(value);
                if let Some(error) = reply.error() {
                    refused += 1;
                    if !["STORAGE", "DISKFULL"].iter().any(|code| error.starts_with(code)) {
                        return Err(format!("a refusal without a name: {error}"));
                    }
                } else {
                    *may = may.split_off(may.len() - 1);
                }
            }
        }
        if round == 0 {
            refused += usize::from(!compact(&node.address)?);
        }
    }
    Ok(refused)
}

fn connect(node: &Node) -> Result<Client, String> {
    Client::connect(&node.address).map_err(|error| format!("it does not answer: {error}"))
}

/// Asks for a checkpoint and a compaction; whether that was done.
fn compact(address: &str) -> Result<bool, String> {
    let told = |error: std::io::Error| format!("compact: {error}");
    let mut stream = TcpStream::connect(address).map_err(told)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    let head = "POST /v1/compact HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n";
    stream.write_all(format!("{head}Host: {address}\r\n\r\n").as_bytes()).map_err(told)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(told)?;
    let named = ["\"storage\"", "\"storage_stopped\"", "\"disk_full\"", "\"corrupt\""];
    if answer.starts_with("HTTP/1.1 204") {
        Ok(true)
    } else if named.iter().any(|code| answer.contains(code)) {
        Ok(false)
    } else {
        Err(format!("compact: a refusal without a name: {answer}"))
    }
}

/// Reads everything. After the failure what is in doubt may be refused; in a later life nothing
/// may, and what is there then is what stays.
fn check(node: &Node, held: &Held, sound: bool) -> Result<(), String> {
    let mut client = connect(node)?;
    for ((database, name), may) in held {
        let reply = client
            .line(&format!("SELECT {database}"))
            .and_then(|_| client.ask(&[b"GET", name.as_bytes()]));
        let reply = reply.map_err(|error| format!("{name}: {error}"))?;
        let right = match &reply {
            Reply::Error(_) => !sound && may.len() > 1,
            reply => may.iter().any(|value| reply.bulk() == value.as_deref()),
        };
        if !right {
            return Err(format!("{name} of {database} is {reply:?}, not one of {}", may.len()));
        }
    }
    Ok(())
}
