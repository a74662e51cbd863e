//! Shoal against a real Redis: the same commands to both, answer by answer.
//!
//! A sequence of commands is made from a seed and the table in [`grammar`]; both servers get it
//! over two connections each, in protocol 2 or 3. Answers must be equal, error texts included,
//! except where [`same`] says that they may differ and how far. A difference is tried again and
//! the sequence made short before it is shown.

mod frames;
mod grammar;
mod same;
mod unsupported;

use crate::client::{Client, Words};
use crate::folder::Folder;
use crate::node::{Launch, Node};
use crate::reply::{Reply, shown};
use crate::settings::{number, say, seed, skipped};
use fastrand::Rng;
use grammar::Step;
use std::io;
use std::time::Duration;

const CONNECTIONS: usize = 2;
const STEPS: usize = 150;
/// Longer than any fleeting key lives.
const FLEETING: Duration = Duration::from_millis(15);
/// How often a failing sequence is tried with something left out.
const SHRINK_TRIALS: usize = 400;

/// Shoal and Redis.
pub(crate) struct Pair {
    shoal: Node,
    redis: Node,
    _folder: Folder,
}

impl Pair {
    /// Both servers, or `None` where there is no Redis to compare with.
    fn start(test: &str) -> Option<Self> {
        let folder = Folder::new(test);
        let Some(redis) = Node::redis(folder.path()) else {
            skipped(&format!("{test}: there is no redis-server on this machine"));
            return None;
        };
        let launch = Launch::new(&folder.path().join("data")).with("--memory");
        let shoal = launch.start().unwrap_or_else(|refused| panic!("{}", refused.log));
        Some(Self { shoal, redis, _folder: folder })
    }
}

/// Both servers' answers to a step that should have been equal.
#[derive(Debug)]
struct Difference {
    /// The number of the step.
    at: usize,
    shoal: Result<Reply, String>,
    redis: Result<Reply, String>,
}

#[test]
fn differential_random_sequences_are_answered_like_redis() {
    let Some(pair) = Pair::start("differential") else { return };
    let seed = seed("differential");
    let sequences = number("SHOAL_SEQUENCES", 60, 1_000);
    let mut steps = 0;
    for number in 0..sequences {
        let mut rng = Rng::with_seed(seed.wrapping_add(number));
        let sequence = grammar::sequence(&mut rng, STEPS);
        steps += sequence.len();
        // Once more, in case a clock stood at an unlucky moment.
        if run(&pair, &sequence).is_some()
            && let Some(difference) = run(&pair, &sequence)
        {
            let (sequence, difference) = shrink(&pair, sequence, difference);
            panic!(
                "SHOAL_SEED={} SHOAL_SEQUENCES=1:\n{}",
                seed.wrapping_add(number),
                tell(&sequence, &difference)
            );
        }
    }
    say(&format!("differential: {sequences} sequences, {steps} steps, no difference"));
    pair.shoal.kill();
}

/// Runs the steps from a clean slate, to the first difference.
fn run(pair: &Pair, steps: &[Step]) -> Option<Difference> {
    let connect = |node: &Node| -> Vec<Client> {
        let mut clients: Vec<Client> = (0..CONNECTIONS)
            .map(|_| Client::connect(&node.address).expect("both servers are there"))
            .collect();
        let flushed = clients[0].line("FLUSHALL").expect("both servers answer");
        assert_eq!(flushed, Reply::ok());
        clients
    };
    let (mut shoal, mut redis) = (connect(&pair.shoal), connect(&pair.redis));
    let mut queues: Vec<Vec<Words>> = vec![Vec::new(); CONNECTIONS];
    let mut expired = 0;
    for (at, step) in steps.iter().enumerate() {
        let (connection, words, fleeting) = match step {
            Step::Command(connection, words) => (*connection, words, false),
            Step::Fleeting(connection, words) => (*connection, words, true),
        };
        if fleeting {
            // Queued, it would run later, with no time after it.
            for client in [&mut shoal[connection], &mut redis[connection]] {
                let _refused_outside_a_transaction = client.line("DISCARD");
            }
            queues[connection].clear();
        }
        // What is set with a time that has passed is gone at once here; Redis counts it as a key
        // until it looks at it again.
        let past = |word: &Vec<u8>| {
            word.eq_ignore_ascii_case(b"exat") || word.eq_ignore_ascii_case(b"pxat")
        };
        expired += i64::from(words.iter().any(past));
        let told = |error: io::Error| error.kind().to_string();
        let theirs = redis[connection].ask(words).map_err(told);
        let ours = shoal[connection].ask(words).map_err(told);
        let equal = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => {
                let context = same::Context { queue: &queues[connection], expired };
                same::same(words, context, ours, theirs)
            }
            _ => false,
        };
        if !equal {
            return Some(Difference { at, shoal: ours, redis: theirs });
        }
        keep_queue(&mut queues[connection], words, theirs.as_ref().ok());
        if fleeting {
            // Until the key has expired, by the servers' clocks.
            std::thread::sleep(FLEETING);
            expired += 1;
        }
    }
    None
}

/// Keeps the list of what a transaction will run.
fn keep_queue(queue: &mut Vec<Words>, words: &Words, reply: Option<&Reply>) {
    match reply {
        Some(Reply::Simple(text)) if text == "QUEUED" => queue.push(words.clone()),
        // A command that was refused neither begins nor ends a transaction.
        Some(Reply::Error(text)) if !text.starts_with("EXECABORT") => {}
        _ => {
            let name = words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
            if matches!(&name[..], b"MULTI" | b"EXEC" | b"DISCARD" | b"RESET") {
                queue.clear();
            }
        }
    }
}

/// Leaves out what the difference does not need.
fn shrink(pair: &Pair, mut steps: Vec<Step>, mut found: Difference) -> (Vec<Step>, Difference) {
    steps.truncate(found.at + 1);
    let mut trials = 0;
    let mut chunk = steps.len() / 2;
    while chunk > 0 && trials < SHRINK_TRIALS {
        let mut from = 0;
        while from + chunk < steps.len() && trials < SHRINK_TRIALS {
            let mut fewer = steps.clone();
            fewer.drain(from..from + chunk);
            trials += 1;
            if let Some(difference) = run(pair, &fewer) {
                fewer.truncate(difference.at + 1);
                (steps, found) = (fewer, difference);
            } else {
                from += chunk;
            }
        }
        chunk /= 2;
    }
    (steps, found)
}

fn tell(steps: &[Step], difference: &Difference) -> String {
    let mut text = String::new();
    for step in steps {
        let (connection, words, after) = match step {
            Step::Command(connection, words) => (connection, words, ""),
            Step::Fleeting(connection, words) => (connection, words, ", and time for it to pass"),
        };
        let words: Vec<String> = words.iter().map(|word| shown(word)).collect();
        text.push_str(&format!("  {connection}: {}{after}\n", words.join(" ")));
    }
    format!("{text}Shoal: {:?}\nRedis: {:?}", difference.shoal, difference.redis)
}

/// Every command of the table, with every form of its arguments and some wrong ones, by itself.
#[test]
fn differential_every_command_alone_is_answered_like_redis() {
    let Some(pair) = Pair::start("differential-alone") else { return };
    let mut rng = Rng::with_seed(seed("differential alone"));
    let mut differences = Vec::new();
    for row in grammar::TABLE {
        for protocol in [2, 3] {
            let steps = grammar::row_alone(row, protocol, &mut rng);
            if let Some(difference) = run(&pair, &steps).and_then(|_| run(&pair, &steps)) {
                let (steps, difference) = shrink(&pair, steps, difference);
                differences.push(tell(&steps, &difference));
            }
        }
    }
    let count = differences.len();
    assert!(differences.is_empty(), "{count} differences:\n{}", differences.join("\n\n"));
    pair.shoal.kill();
}
