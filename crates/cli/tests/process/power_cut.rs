//! Loss of power, for the whole folder of a node: its log, its store, its map (F40, F41).
//!
//! A node works while a shim records every change it makes to its files. From the recording the
//! disks are built that a loss of power could leave, at a great many moments; a node is started
//! on each and must hold what had been acknowledged by then.

use crate::disk::{Disk, Mood};
use crate::folder::Folder;
use crate::history::{END, Mark, Shared};
use crate::node::{Launch, Node};
use crate::settings::{is_full, number, say, seed, skipped};
use crate::shim::Shim;
use crate::trace::Trace;
use crate::workload::{Worker, check_shared, shared_counters};
use fastrand::Rng;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};

const WORKERS: usize = 3;
const GROUPS: usize = 10;
const LONGEST_VALUE: usize = 30_000;
/// Operations of each worker between a start and the end that follows it.
const OPERATIONS: u64 = 500;
/// Values written once in every life, and the bytes of each: more than the write buffer of a node
/// with so little memory holds, so that checkpoints happen in the recording.
const FILL: (usize, usize) = (160, 65_536);
/// Acknowledged after a first start, and the cuts of an everyday run.
const FIRST_OPERATIONS: u64 = 10;
const FIRST_CUTS: usize = 40;
/// How often in the first life of a long run: until the log is at its second file and the first
/// can go.
const LONG_FILLS: usize = 8;
/// As many nodes at a time as the smallest machine has processors.
const CHECKERS: usize = 2;
/// After so many losses the rest would teach nothing.
const ENOUGH_LOSSES: usize = 3;

/// A recorded run.
struct Run {
    folder: Folder,
    workers: Vec<Worker>,
    shared: Vec<Shared>,
}

impl Run {
    fn new() -> Self {
        Self::with(WORKERS)
    }

    fn with(workers: usize) -> Self {
        let folder = Folder::new("power-cut");
        fs::create_dir(folder.path().join("world")).expect("the world of the run");
        let workers = (0..workers).map(|number| Worker::new(number, GROUPS, LONGEST_VALUE));
        Self { folder, workers: workers.collect(), shared: shared_counters() }
    }

    /// The folder that is recorded; the node makes its own inside.
    fn world(&self) -> PathBuf {
        self.folder.path().join("world")
    }

    fn trace(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    fn launch(&self, shim: &Shim) -> Launch {
        shim.record(Launch::new(&self.world().join("data")), &self.world(), &self.trace())
    }

    /// Every worker does its share.
    fn work(&mut self, node: &Node, fills: usize, rng: &mut Rng) {
        let (shared, trace) = (&self.shared, self.folder.path().join("trace"));
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for worker in &mut self.workers {
                let (mut rng, trace) = (rng.fork(), &trace);
                // One of them.
                let fills = if threads.is_empty() { fills } else { 0 };
                threads.push(scope.spawn(move || {
                    let mark = || length(trace);
                    let until = worker.acknowledged + OPERATIONS / 2;
                    worker.work(&node.address, shared, &mut rng, &mark, until)?;
                    for _ in 0..fills {
                        worker.fill(&node.address, FILL, &mut rng, &mark)?;
                    }
                    let until = worker.acknowledged + OPERATIONS / 2;
                    worker.work(&node.address, shared, &mut rng, &mark, until)
                }));
            }
            for thread in threads {
                let worked = thread.join().expect("a worker does not panic");
                worked.unwrap_or_else(|why| panic!("{why}\n{}", node.log()));
            }
        });
    }

    /// After a restart: what is there is what must stay.
    fn observe(&mut self, node: &Node) {
        for worker in &mut self.workers {
            let shapes = worker.check(&node.address, END);
            let shapes = shapes.unwrap_or_else(|why| panic!("{why}\n{}", node.log()));
            worker.observe(shapes, length(&self.folder.path().join("trace")));
        }
        let shared = check_shared(&node.address, &self.shared, END);
        shared.unwrap_or_else(|why| panic!("{why}\n{}", node.log()));
    }
}

fn length(trace: &Path) -> Mark {
    fs::metadata(trace).map_or(0, |trace| trace.len())
}

fn start(launch: &Launch) -> Node {
    launch.start().unwrap_or_else(|refused| {
        panic!("the recorded node does not start: {}\n{}", refused.status, refused.log)
    })
}

#[test]
fn what_was_acknowledged_survives_the_loss_of_power() {
    let mut rng = Rng::with_seed(seed("power cut"));
    let images = number("SHOAL_IMAGES", 40, 500) as usize;
    let mut run = Run::new();
    let shim = match Shim::build(&run.folder) {
        Ok(shim) => shim,
        Err(why) => return skipped(&format!("power cuts of whole folders: {why}")),
    };
    let launch = run.launch(&shim);
    // First start, an orderly end; a second life that is killed; a third that has to recover.
    let node = start(&launch);
    run.work(&node, if is_full() { LONG_FILLS } else { 1 }, &mut rng);
    assert!(node.stop().success(), "SIGTERM is an orderly end");
    for _ in 0..2 {
        let node = start(&launch);
        run.observe(&node);
        run.work(&node, 1, &mut rng);
        node.kill();
    }
    let trace = Trace::load(&run.trace(), &run.world());
    let losses = try_images(&run, &trace, images, &mut rng);
    say(&format!(
        "power cut: {images} images of {} changes, {} bytes of trace, {} losses",
        trace.events.len(),
        length(&run.trace()),
        losses.len()
    ));
    assert!(losses.is_empty(), "{}", losses.join("\n\n"));
}

/// A first start, cut after every change that it makes to its files: the next one makes the
/// directory anew or goes on making it, and what was acknowledged right after it is there.
#[test]
fn a_first_start_cut_anywhere_is_begun_again() {
    let mut rng = Rng::with_seed(seed("first start"));
    let mut run = Run::with(1);
    let shim = match Shim::build(&run.folder) {
        Ok(shim) => shim,
        Err(why) => return skipped(&format!("power cuts of a first start: {why}")),
    };
    let node = start(&run.launch(&shim));
    let trace = run.trace();
    let first = &mut run.workers[0];
    let worked =
        first.work(&node.address, &run.shared, &mut rng, &|| length(&trace), FIRST_OPERATIONS);
    worked.unwrap_or_else(|why| panic!("{why}\n{}", node.log()));
    node.kill();
    let trace = Trace::load(&trace, &run.world());
    // All of them in a long run, several times, as what is torn and lost differs.
    let every = if is_full() { 1 } else { (trace.events.len() / FIRST_CUTS).max(1) };
    let mut cuts: Vec<usize> = (1..=trace.events.len()).step_by(every).collect();
    if is_full() {
        cuts = cuts.iter().flat_map(|cut| [*cut; 2]).collect();
    }
    let losses = try_cuts(&run, &trace, &cuts, &mut rng);
    say(&format!(
        "first start: {} cuts of {} changes, {} losses",
        cuts.len(),
        trace.events.len(),
        losses.len()
    ));
    assert!(losses.is_empty(), "{}", losses.join("\n\n"));
}

/// The harness must be able to see a loss: here is a node whose syncs do nothing.
#[test]
fn a_node_that_does_not_sync_is_found_out() {
    find_out("all");
}

/// The same for one that syncs its files, but not the folders with their names.
#[test]
fn a_node_that_does_not_sync_folders_is_found_out() {
    find_out("folders");
}

fn find_out(missing: &str) {
    let mut rng = Rng::with_seed(seed("power cut without syncs"));
    let mut run = Run::new();
    let shim = match Shim::build(&run.folder) {
        Ok(shim) => shim,
        Err(why) => return skipped(&format!("power cuts of a node that does not sync: {why}")),
    };
    let node = start(&run.launch(&shim).variable("SHIM_NO_SYNC", missing));
    run.work(&node, 0, &mut rng);
    node.kill();
    let trace = Trace::load(&run.trace(), &run.world());
    let losses = try_images(&run, &trace, 30, &mut rng);
    say(&format!("power cut without syncs of {missing}: {} losses found", losses.len()));
    assert!(losses.len() >= ENOUGH_LOSSES, "syncs that do nothing went unnoticed");
}

/// An image to try.
struct Image {
    world: PathBuf,
    cut: Mark,
    what: String,
}

/// Builds images and starts a node on each; returns what went wrong.
fn try_images(run: &Run, trace: &Trace, images: usize, rng: &mut Rng) -> Vec<String> {
    let cuts = choose_cuts(trace, images, rng);
    try_cuts(run, trace, &cuts, rng)
}

/// The same for cuts after these numbers of events, ascending.
fn try_cuts(run: &Run, trace: &Trace, cuts: &[usize], rng: &mut Rng) -> Vec<String> {
    let root = fs::metadata(run.world()).expect("the world of the run").ino();
    let losses = Mutex::new(Vec::new());
    let folder = Folder::in_memory(&format!("images-{}", rng.u32(..)));
    let (send, receive) = sync_channel::<Image>(CHECKERS);
    let receive = Mutex::new(receive);
    std::thread::scope(|scope| {
        for _ in 0..CHECKERS {
            scope.spawn(|| check_images(run, &receive, &losses));
        }
        let mut disk = Disk::new(trace, root);
        for (number, &count) in cuts.iter().enumerate() {
            if losses.lock().expect("no checker panics").len() >= ENOUGH_LOSSES {
                break;
            }
            disk.advance(count);
            let (mood, mut rng) = (Mood::any(rng), rng.fork());
            let world = folder.path().join(format!("image-{number}"));
            disk.cut(mood, &mut rng, &world);
            let cut = trace.events[count - 1].end;
            let what = format!("image {number}, after change {count}, {mood:?}");
            send.send(Image { world, cut, what }).expect("the checkers wait for images");
        }
        drop(send);
    });
    losses.into_inner().expect("no checker panics")
}

/// Numbers of events after which to cut, ascending: half of them anywhere, half where names
/// change and syncs end.
fn choose_cuts(trace: &Trace, images: usize, rng: &mut Rng) -> Vec<usize> {
    let events = &trace.events;
    assert!(!events.is_empty(), "the node changed no file");
    let delicate: Vec<usize> =
        (0..events.len()).filter(|event| events[*event].change.is_delicate()).collect();
    let mut cuts: Vec<usize> = (0..images)
        .map(|image| match image % 2 {
            0 if !delicate.is_empty() => {
                (delicate[rng.usize(..delicate.len())] + rng.usize(..=1)).max(1)
            }
            _ => rng.usize(1..=events.len()),
        })
        .collect();
    cuts.sort_unstable();
    cuts
}

fn check_images(run: &Run, images: &Mutex<Receiver<Image>>, losses: &Mutex<Vec<String>>) {
    loop {
        let image = images.lock().expect("no checker panics").recv();
        let Ok(image) = image else { return };
        let judged = check_image(run, &image);
        let mut losses = losses.lock().expect("no checker panics");
        match judged {
            Ok(()) => fs::remove_dir_all(&image.world).expect("the image was ours"),
            Err(why) => losses.push(format!("{}: {why}", image.what)),
        }
    }
}

/// Twice: what recovery made of the image must hold as well.
fn check_image(run: &Run, image: &Image) -> Result<(), String> {
    let launch = Launch::new(&image.world.join("data"));
    for life in ["first", "second"] {
        let node = launch.start().map_err(|refused| {
            format!("the {life} start was refused: {}\n{}", refused.status, refused.log)
        })?;
        let judged = judge(run, &node, image.cut);
        node.kill();
        judged.map_err(|why| format!("the {life} start: {why}"))?;
    }
    Ok(())
}

fn judge(run: &Run, node: &Node, cut: Mark) -> Result<(), String> {
    for worker in &run.workers {
        worker.check(&node.address, cut)?;
    }
    check_shared(&node.address, &run.shared, cut).map(|_values| ())
}
