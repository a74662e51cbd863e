//! A full disk: a file system of fixed size, filled to the brim (F45).

use crate::client::Client;
use crate::folder::Folder;
use crate::node::{Launch, Node};
use crate::reply::Reply;
use crate::settings::{say, skipped};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Of the file system.
const SIZE: &str = "512m";
/// Of the file that can be removed to make room.
const BALLAST_BYTES: u64 = 192 << 20;
const VALUE_BYTES: usize = 128 << 10;
/// More than fit.
const MOST_VALUES: usize = 8_192;
/// For restarts: of the file system, and the values in it when it is filled from outside. So many
/// that the log has more than one generation of the write buffer takes.
const RESTART_SIZE: &str = "96m";
const RESTART_VALUES: usize = 60;
/// How long it may take to notice that there is room again.
const PATIENCE: Duration = Duration::from_secs(90);

/// A mounted file system, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).expect("a place to mount at");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "shoal-test"]).arg(at);
        let output = mount.output().ok()?;
        output.status.success().then(|| Self(at.to_path_buf()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            say(&format!("{} could not be unmounted", self.0.display()));
        }
    }
}

/// With a reserve the node refuses before any file meets the end of the disk.
#[test]
fn a_disk_down_to_its_reserve_is_refused_and_forgiven() {
    fill_and_free("64MiB", "reserve", |_, client| {
        assert_eq!(client.line("FLUSHALL").expect("an answer"), Reply::ok());
    });
}

/// Without one, files meet it. Room comes from outside.
#[test]
fn a_disk_full_to_the_last_byte_is_refused_and_forgiven() {
    fill_and_free("0", "no-reserve", |ballast, _| {
        fs::remove_file(ballast).expect("the ballast");
    });
}

/// A node that is killed or stopped with not one byte left starts again all the same: it reads,
/// refuses writes by name, and takes them again once there is room.
#[test]
fn a_restart_on_a_disk_full_to_the_last_byte_serves_and_goes_on() {
    let folder = Folder::new("disk-full-restart");
    let Some(mounted) = Mounted::new(&folder.path().join("disk"), RESTART_SIZE) else {
        return skipped("restarts on full disks: mounting a file system needs root");
    };
    let ballast = mounted.0.join("ballast");
    let launch = Launch::new(&mounted.0.join("data")).with("--min-free").with("0");
    let node = start(&launch);
    let mut client = Client::connect(&node.address).expect("the node is there");
    for number in 0..RESTART_VALUES {
        assert_eq!(set(&mut client, &format!("v:{number}"), number), Reply::ok());
    }
    take_all(&ballast);
    node.kill_in_trouble();
    let mut kept = RESTART_VALUES;
    for how in ["killed", "killed again", "stopped", "stopped again"] {
        take_all(&ballast);
        let node = start(&launch);
        let mut client = Client::connect(&node.address).expect("the node is there");
        check(&mut client, 0..kept);
        let (until, refusal) = fill_from(&mut client, kept);
        assert!(refusal.starts_with("DISKFULL"), "{how}: {refusal}");
        kept = until;
        check(&mut client, 0..kept);
        // What needs a new map is refused as well, and so are its keys.
        client.line("SELECT 7").expect("an answer");
        take_all(&ballast);
        let elsewhere = client.line("SET elsewhere value").expect("an answer");
        assert!(elsewhere.error().is_some_and(|e| e.starts_with("DISKFULL")), "{elsewhere:?}");
        if how.starts_with("killed") {
            node.kill_in_trouble();
        } else {
            let (status, log) = node.stop_in_trouble();
            let named = log.to_lowercase().contains("no space left");
            assert!(status.success() || named, "{status} does not say why:\n{log}");
        }
    }
    take_all(&ballast);
    let node = start(&launch);
    let mut client = Client::connect(&node.address).expect("the node is there");
    check(&mut client, 0..kept);
    fs::remove_file(&ballast).expect("the ballast");
    resume(&node, &mut client);
    client.line("SELECT 7").expect("an answer");
    assert_eq!(client.line("SET elsewhere value").expect("an answer"), Reply::ok());
    assert!(node.stop_in_trouble().0.success(), "with room it ends in order");
    let node = start(&launch);
    check(&mut Client::connect(&node.address).expect("the node is there"), 0..kept);
    node.kill();
}

/// Grows `ballast` until not one byte more can be written.
fn take_all(ballast: &Path) {
    let mut file = fs::File::options().create(true).append(true).open(ballast).expect("ballast");
    let mut piece = 1 << 20;
    while piece > 0 {
        match file.write(&vec![1; piece]) {
            Ok(1..) => {}
            // The end may be met before the last byte is used.
            _ => piece /= 2,
        }
    }
}

fn fill_and_free(min_free: &str, name: &str, free: impl FnOnce(&Path, &mut Client)) {
    let folder = Folder::new(&format!("disk-full-{name}"));
    let Some(mounted) = Mounted::new(&folder.path().join("disk"), SIZE) else {
        return skipped("full disks: mounting a file system needs root");
    };
    let ballast = mounted.0.join("ballast");
    fs::write(&ballast, vec![1; BALLAST_BYTES as usize]).expect("the ballast fits");
    let launch = Launch::new(&mounted.0.join("data")).with("--min-free").with(min_free);
    let node = start(&launch);
    let mut client = Client::connect(&node.address).expect("the node is there");
    let (kept, refusal) = fill(&mut client);
    assert!(refusal.starts_with("DISKFULL"), "the refusal does not say why: {refusal}");
    assert!(kept > 10, "refused after {kept} values");
    // Reads go on, and so do removals.
    check(&mut client, 0..kept);
    let removed = client.line("DEL v:0").expect("an answer");
    let said =
        removed.integer() == Some(1) || removed.error().is_some_and(|e| e.starts_with("DISKFULL"));
    assert!(said, "{removed:?}");
    let there = client.line("GET v:0").expect("an answer").is_nil();
    assert_eq!(there, removed.integer() == Some(1), "a removal is done or refused");
    free(&ballast, &mut client);
    let flushed = client.line("DBSIZE").expect("an answer").integer() == Some(0);
    resume(&node, &mut client);
    for number in 0..20 {
        // What was put off while the disk was full takes room too, for a moment.
        until_taken(&node, &mut client, &format!("again:{number}"), number);
    }
    node.kill_in_trouble();
    let node = start(&launch);
    let mut client = Client::connect(&node.address).expect("the node is there");
    if !flushed {
        check(&mut client, 1..kept);
    }
    for number in 0..20 {
        let value = client.line(&format!("GET again:{number}")).expect("an answer");
        assert_eq!(value.bulk(), Some(&value_of(number)[..]), "again:{number}");
    }
    node.kill_in_trouble();
    drop(mounted);
}

fn start(launch: &Launch) -> Node {
    launch.start().unwrap_or_else(|refused| panic!("{}\n{}", refused.status, refused.log))
}

/// Bytes that do not compress and tell their number.
fn value_of(number: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(number as u64);
    std::iter::repeat_with(|| rng.u8(..)).take(VALUE_BYTES).collect()
}

fn set(client: &mut Client, key: &str, number: usize) -> Reply {
    client.ask(&[b"SET", key.as_bytes(), &value_of(number)]).expect("an answer")
}

/// Writes until it is refused: how many values were taken, and the refusal.
fn fill(client: &mut Client) -> (usize, String) {
    fill_from(client, 0)
}

fn fill_from(client: &mut Client, first: usize) -> (usize, String) {
    for number in first..MOST_VALUES {
        match set(client, &format!("v:{number}"), number) {
            Reply::Error(refusal) => return (number, refusal),
            reply => assert_eq!(reply, Reply::ok()),
        }
    }
    panic!("{MOST_VALUES} values fit a file system of {SIZE}");
}

fn check(client: &mut Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let value = client.line(&format!("GET v:{number}")).expect("an answer");
        assert_eq!(value.bulk(), Some(&value_of(number)[..]), "v:{number}");
    }
}

/// Nobody restarts it or tells it: it takes writes again by itself.
fn resume(node: &Node, client: &mut Client) {
    let begun = Instant::now();
    until_taken(node, client, "first", 0);
    say(&format!("full disk: took writes again {:?} later", begun.elapsed()));
}

/// Writes until it is taken. Until then it is refused by name.
fn until_taken(node: &Node, client: &mut Client, key: &str, number: usize) {
    let begun = Instant::now();
    loop {
        match set(client, key, number) {
            Reply::Error(refusal) => {
                assert!(refusal.starts_with("DISKFULL"), "{refusal}");
                assert!(begun.elapsed() < PATIENCE, "still {refusal}\n{}", node.log());
                std::thread::sleep(Duration::from_millis(50));
            }
            reply => return assert_eq!(reply, Reply::ok()),
        }
    }
}
