//! A node that was away while much was written is brought up, and others go on meanwhile.
//!
//! How much slower they go on is told, not judged: it depends on the machine.

use super::rig::Rig;
use crate::client::{Client, ask_all};
use crate::reply::Reply;
use crate::settings::{number, say};
use std::time::{Duration, Instant};

/// Clients that write what the node misses.
const WRITERS: usize = 4;
/// Requests that tell how fast the others are.
const SAMPLES: usize = 500;

fn key(number: usize) -> String {
    format!("missed:{number}")
}

/// How long the slowest of a hundred requests took.
fn p99(client: &mut Client, samples: &mut Vec<Duration>) -> Duration {
    for sample in 0..SAMPLES {
        let line = if sample % 2 == 0 { format!("SET now {sample}") } else { "GET now".to_owned() };
        let begun = Instant::now();
        let answer = client.line(&line).expect("a node that runs answers");
        assert!(answer.error().is_none(), "{line}: {answer:?}");
        samples.push(begun.elapsed());
    }
    samples.sort_unstable();
    samples[samples.len() * 99 / 100]
}

#[test]
fn a_node_that_missed_many_writes_is_brought_up_while_the_others_serve() {
    let missed = number("SHOAL_MISSED", 2_000, 30_000) as usize;
    let mut rig = Rig::of_three("catching-up");
    let mut client = rig.client(1);
    p99(&mut client, &mut Vec::new());
    let before = p99(&mut client, &mut Vec::new());
    rig.kill(3);
    rig.wait_down(1, &["n3"]);
    rig.wait_down(2, &["n3"]);
    let writers = (0..WRITERS).map(|writer| {
        let mut client = rig.client(1 + writer % 2);
        std::thread::spawn(move || {
            let numbers = (writer..missed).step_by(WRITERS);
            let line = |number| format!("SET {} {number}", key(number));
            ask_all(&mut client, numbers, line, |_, answer| *answer == Reply::ok())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        let refused = writer.join().expect("it is answered");
        assert!(refused.is_empty(), "{} writes were not acknowledged", refused.len());
    }
    let hints = |rig: &Rig| -> u64 {
        let of = |node| rig.status(node).and_then(|status| status["hints"].as_u64());
        [1, 2].into_iter().filter_map(of).sum()
    };
    let kept = hints(&rig);
    rig.start(&[3]);
    let begun = Instant::now();
    let (mut samples, mut behind): (_, Vec<_>) = (Vec::new(), (0..missed).collect());
    let mut while_behind = Duration::ZERO;
    let mut third = rig.client(3);
    rig.wait("n3 itself holds all that it missed", || {
        while_behind = p99(&mut client, &mut samples);
        let line = |number| format!("AT one GET {}", key(number));
        let left = std::mem::take(&mut behind);
        let held =
            |number: usize, answer: &Reply| answer.bulk() == Some(number.to_string().as_bytes());
        behind = ask_all(&mut third, left, line, held);
        behind.is_empty()
    });
    let took = begun.elapsed();
    rig.wait_whole(&[1, 2, 3]);
    rig.wait("nothing is kept for it any more", || hints(&rig) == 0);
    say(&format!(
        "cluster, catching up: {missed} writes missed, {kept} hints kept, brought up within \
         {took:.1?}; slowest of a hundred requests {before:.1?} before, {while_behind:.1?} meanwhile"
    ));
}
