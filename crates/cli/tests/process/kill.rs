//! SIGKILL at random moments, on one folder that is never wiped (F39).

use crate::folder::Folder;
use crate::history::{END, Shared};
use crate::node::{Launch, Node};
use crate::settings::{number, say, seed};
use crate::workload::{Worker, check_shared, shared_counters};
use fastrand::Rng;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const WORKERS: usize = 4;
const GROUPS: usize = 12;
const LONGEST_VALUE: usize = 60_000;
/// A run in which less was done proves nothing.
const LEAST_PER_KILL: u64 = 20;

#[test]
fn killed_nodes_keep_what_they_acknowledged() {
    let mut rng = Rng::with_seed(seed("kill"));
    let kills = number("SHOAL_KILLS", 5, 100);
    let folder = Folder::new("kill");
    let launch = Launch::new(&folder.path().join("data"));
    let mut workers: Vec<Worker> =
        (0..WORKERS).map(|number| Worker::new(number, GROUPS, LONGEST_VALUE)).collect();
    let mut shared = shared_counters();
    for kill in 0..kills {
        // Recovery is killed too.
        while rng.u8(..5) == 0 {
            launch.start_and_kill(Duration::from_millis(rng.u64(..40)));
        }
        let node = start(&launch);
        check(&node, &mut workers, &mut shared, &format!("before kill {kill}"));
        let time = Duration::from_millis(rng.u64(5..400));
        work_and_kill(node, &mut workers, &shared, &mut rng, time);
    }
    let node = start(&launch);
    check(&node, &mut workers, &mut shared, "after the last kill");
    assert!(node.stop().success(), "SIGTERM is an orderly end");
    let node = start(&launch);
    check(&node, &mut workers, &mut shared, "after the orderly end");
    node.kill();
    let acknowledged: u64 = workers.iter().map(|worker| worker.acknowledged).sum();
    say(&format!("kill: {kills} kills, {acknowledged} operations acknowledged and kept"));
    assert!(acknowledged >= kills * LEAST_PER_KILL, "too little was done to prove anything");
}

fn start(launch: &Launch) -> Node {
    launch.start().unwrap_or_else(|refused| {
        panic!("the node does not start again: {}\n{}", refused.status, refused.log)
    })
}

fn check(node: &Node, workers: &mut [Worker], shared: &mut [Shared], when: &str) {
    for worker in workers {
        match worker.check(&node.address, END) {
            Ok(shapes) => worker.restart(shapes),
            Err(why) => panic!("{when}: {why}\n{}", node.log()),
        }
    }
    match check_shared(&node.address, shared, END) {
        Ok(found) => {
            for (counter, found) in shared.iter_mut().zip(found) {
                counter.restart(found);
            }
        }
        Err(why) => panic!("{when}: {why}\n{}", node.log()),
    }
}

fn work_and_kill(
    node: Node,
    workers: &mut [Worker],
    shared: &[Shared],
    rng: &mut Rng,
    time: Duration,
) {
    let marks = AtomicU64::new(1);
    let address = node.address.clone();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for worker in workers {
            let (mut rng, marks, address) = (rng.fork(), &marks, &address);
            threads.push(scope.spawn(move || {
                let mark = || marks.fetch_add(1, Ordering::SeqCst);
                worker.work(address, shared, &mut rng, &mark, u64::MAX)
            }));
        }
        std::thread::sleep(time);
        node.kill();
        for thread in threads {
            if let Err(why) = thread.join().expect("a worker does not panic") {
                panic!("{why}");
            }
        }
    });
}
