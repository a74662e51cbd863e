//! A directory from before there were clusters becomes the first node of one.

use super::rig::Rig;
use std::path::Path;
use std::process::Command;

/// What `fixtures/README.md` says is in it, as (database, key, value).
fn kept() -> Vec<(u16, String, String)> {
    let early = (50..400).map(|key| (0, format!("early:{key}"), format!("{key}")));
    let later = (400..900).map(|key| (0, format!("early:{key}"), format!("v{key}")));
    let third = (0..100).map(|key| (3, format!("third:{key}"), format!("{key}")));
    let things = (0..100).map(|key| (16, format!("thing:{key}"), format!("{key}")));
    let single = [(0, "counter", "42"), (0, "lasting", "x")];
    let single = single.map(|(database, key, value)| (database, key.to_owned(), value.to_owned()));
    early.chain(later).chain(third).chain(things).chain(single).collect()
}

fn check(rig: &Rig, number: usize) {
    let mut client = rig.client(number);
    let mut at = 0;
    for (database, key, value) in kept() {
        if database != at {
            client.line(&format!("SELECT {database}")).expect("it answers");
            at = database;
        }
        let found = client.line(&format!("GET {key}")).expect("it answers");
        assert_eq!(found.bulk(), Some(value.as_bytes()), "n{number}: {key}\n{}", rig.logs());
    }
    for (database, count) in [(0, 852), (3, 100), (16, 100)] {
        client.line(&format!("SELECT {database}")).expect("it answers");
        // What has expired may be counted until it is swept or purged.
        let counted = client.line("DBSIZE").expect("it answers").integer();
        assert!(counted == Some(count) || counted == Some(count + 1), "{database}: {counted:?}");
    }
    client.line("SELECT 0").expect("it answers");
    for key in ["gone", "early:0", "early:49"] {
        let found = client.line(&format!("GET {key}")).expect("it answers");
        assert_eq!(found.bulk(), None, "n{number}: {key}");
    }
    let lasting = client.line("PEXPIRETIME lasting").expect("it answers");
    assert_eq!(lasting.integer(), Some(4_102_444_800_000));
}

#[test]
fn a_directory_from_before_clusters_becomes_the_first_node_of_one() {
    let archive =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/fixtures/one-node.tar.gz");
    let mut rig = Rig::new("before");
    let data = rig.data(1);
    std::fs::create_dir_all(&data).expect("the folder is ours");
    let unpacked = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&data).status();
    assert!(unpacked.expect("tar is there").success());
    rig.start(&[1]);
    check(&rig, 1);
    rig.start(&[2, 3]);
    rig.wait_whole(&[1, 2, 3]);
    for number in [1, 2, 3] {
        check(&rig, number);
    }
    // The others have it all without the one that had it first.
    rig.kill(1);
    for number in [2, 3] {
        rig.wait_down(number, &["n1"]);
        check(&rig, number);
    }
}
