//! Directories: whose they are, whether they are whole, and what is refused.

use super::*;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

fn open(path: &Path) -> Result<DataDirectory, DirectoryError> {
    DataDirectory::open(path, || (7, 1))
}

/// A directory with all its parts, closed.
fn complete(path: &Path) {
    let mut made = open(path).unwrap();
    let store = made.folder("x", &PARTS).unwrap();
    fs::write(store.join("part"), b"p").unwrap();
    made.ceiling("clock").unwrap().raise(100).unwrap();
    made.complete().unwrap();
}

const PARTS: [&str; 1] = ["part"];

#[test]
fn a_new_directory_is_private_and_keeps_who_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a/b");
    let made = open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    assert_eq!(made.identity(), Identity { cluster_id: 7, node_id: 1, incarnation: 1 });
    assert_eq!(fs::metadata(made.folder("x", &[]).unwrap()).unwrap().mode() & 0o777, 0o700);
    made.folder("x", &[]).unwrap();
    drop(made);
    for incarnation in 2..6 {
        let again = DataDirectory::open(&path, || panic!("it is not new")).unwrap();
        assert_eq!(again.identity(), Identity { cluster_id: 7, node_id: 1, incarnation });
    }
}

#[test]
fn a_directory_waits_for_its_node_with_nothing_but_a_note() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    for time in 0..2 {
        let Opened::Unowned(unowned) = Opened::at(&path).unwrap() else {
            panic!("it belongs to nobody, time {time}");
        };
        assert_eq!(unowned.path(), path);
        let refused = Opened::at(&path).expect_err("it is locked");
        assert_eq!(refused.code(), "directory_in_use");
        replace_file(&path, Unowned::NOTE, b"note").unwrap();
    }
    let Opened::Unowned(unowned) = Opened::at(&path).unwrap() else { panic!("still nobody's") };
    let made = unowned.belong(9, 3).unwrap();
    assert!(!made.is_complete());
    drop(made);
    let Opened::Owned(again) = Opened::at(&path).unwrap() else { panic!("it has a node") };
    assert_eq!(again.identity(), Identity { cluster_id: 9, node_id: 3, incarnation: 2 });
    drop(again);
    remove_file(&path, Unowned::NOTE).unwrap();
    remove_file(&path, Unowned::NOTE).unwrap();
    assert!(!path.join(Unowned::NOTE).exists());
}

#[test]
fn every_flip_and_every_cut_of_a_sealed_file_is_found() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, magic) = (temp.path(), *b"SHOALtst");
    assert_eq!(read_sealed(dir, "f", magic).unwrap(), None);
    replace_sealed(dir, "f", magic, b"what it says").unwrap();
    assert_eq!(read_sealed(dir, "f", magic).unwrap().as_deref(), Some(&b"what it says"[..]));
    assert_eq!(read_sealed(dir, "f", *b"SHOALown").unwrap_err().code(), "directory_damaged");
    let good = fs::read(dir.join("f")).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(dir.join("f"), bytes).unwrap();
        assert_eq!(read_sealed(dir, "f", magic).unwrap_err().code(), "directory_damaged");
    };
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        refused(&bad);
    }
    (0..good.len()).for_each(|len| refused(&good[..len]));
}

#[test]
fn what_is_missing_is_made_until_the_directory_is_complete_and_a_loss_afterwards() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    let mut made = open(&path).unwrap();
    let store = made.folder("x", &PARTS).unwrap();
    fs::remove_dir_all(&store).unwrap();
    made.folder("x", &PARTS).unwrap();
    made.ceiling("clock").unwrap();
    fs::remove_file(path.join("clock")).unwrap();
    drop(made);
    made = open(&path).unwrap();
    made.ceiling("clock").unwrap();
    fs::write(made.folder("x", &PARTS).unwrap().join("part"), b"p").unwrap();
    made.complete().unwrap();
    drop(made);
    made = open(&path).unwrap();
    assert!(made.is_complete());
    made.folder("x", &PARTS).unwrap();
    for gone in [store.join("part"), store.clone()] {
        if gone.is_dir() { fs::remove_dir_all(&gone) } else { fs::remove_file(&gone) }.unwrap();
        match made.folder("x", &PARTS) {
            Err(refused @ DirectoryError::Missing { .. }) => {
                assert_eq!(refused.code(), "store_missing");
                assert!(refused.to_string().contains(gone.to_str().unwrap()), "{refused}");
            }
            other => panic!("{other:?}"),
        }
        assert!(!gone.exists(), "nothing was made in its place");
    }
}

#[test]
fn a_folder_of_another_directory_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let (one, other) = (temp.path().join("one"), temp.path().join("other"));
    complete(&one);
    complete(&other);
    let found = |stage: &str| {
        let refused = open(&one).unwrap().folder("x", &PARTS).unwrap_err();
        assert_eq!(refused.code(), "store_foreign", "{stage}: {refused}");
    };
    fs::rename(one.join("x"), one.join("mine")).unwrap();
    fs::rename(other.join("x"), one.join("x")).unwrap();
    found("another's of the same cluster and node");
    fs::remove_file(one.join("x/owner")).unwrap();
    found("nobody's");
    fs::remove_dir_all(one.join("x")).unwrap();
    fs::rename(one.join("mine"), one.join("x")).unwrap();
    open(&one).unwrap().folder("x", &PARTS).unwrap();
    // A new directory takes nobody's files either.
    let new = temp.path().join("new");
    drop(open(&new).unwrap());
    DirBuilder::new().mode(0o700).create(new.join("x")).unwrap();
    fs::write(new.join("x/owner.new"), b"half").unwrap();
    open(&new).unwrap().folder("x", &PARTS).unwrap();
    fs::remove_file(new.join("x/owner")).unwrap();
    fs::write(new.join("x/part"), b"p").unwrap();
    let refused = open(&new).unwrap().folder("x", &PARTS).unwrap_err();
    assert_eq!(refused.code(), "store_foreign", "{refused}");
}

#[test]
fn every_flip_and_every_cut_of_an_owner_is_found() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    complete(&path);
    let made = open(&path).unwrap();
    let file = path.join("x/owner");
    let good = fs::read(&file).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let refused = made.folder("x", &PARTS).expect_err("damage");
        assert!(matches!(refused, DirectoryError::Damaged { .. }), "{refused}");
    };
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        refused(&bad);
    }
    (0..good.len()).for_each(|len| refused(&good[..len]));
    fs::write(&file, &good).unwrap();
    made.folder("x", &PARTS).unwrap();
}

#[test]
fn a_missing_ceiling_is_refused_unless_it_may_begin_anew() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    complete(&path);
    let made = open(&path).unwrap();
    assert_eq!(made.ceiling("clock").unwrap().value(), 100);
    fs::remove_file(path.join("clock")).unwrap();
    let refused = made.ceiling("clock").unwrap_err();
    assert_eq!(refused.code(), "clock_missing");
    assert!(refused.to_string().contains("clock.reset"), "{refused}");
    assert!(!path.join("clock").exists());
    fs::write(path.join("clock.reset"), b"").unwrap();
    made.ceiling("clock").unwrap().raise(7).unwrap();
    assert!(!path.join("clock.reset").exists(), "it holds once");
    // Where there is a ceiling it counts, whatever was said.
    fs::write(path.join("clock.reset"), b"").unwrap();
    assert_eq!(made.ceiling("clock").unwrap().value(), 7);
    assert!(!path.join("clock.reset").exists());
}

#[test]
fn opening_a_complete_directory_takes_no_room() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    complete(&path);
    let inode = |name: &str| {
        let found = fs::metadata(path.join(name)).unwrap();
        (found.ino(), found.len())
    };
    let files = ["identity", "clock", "lock", "x/owner"];
    let before = files.map(inode);
    // No file can be made beside these, as on a full disk.
    for name in files {
        fs::create_dir(path.join(format!("{name}.new"))).unwrap();
    }
    for _ in 0..3 {
        let mut made = open(&path).unwrap();
        made.folder("x", &PARTS).unwrap();
        made.ceiling("clock").unwrap();
        made.complete().unwrap();
    }
    assert_eq!(files.map(inode), before);
}

#[test]
fn a_directory_of_the_former_format_is_taken_over() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    DirBuilder::new().mode(0o700).create(&path).unwrap();
    DirBuilder::new().mode(0o700).create(path.join("x")).unwrap();
    fs::write(path.join("x/part"), b"p").unwrap();
    let mut former = b"SHOALdir".to_vec();
    former.extend_from_slice(&1_u32.to_le_bytes());
    former.extend_from_slice(&9_u128.to_le_bytes());
    former.extend_from_slice(&3_u32.to_le_bytes());
    former.extend_from_slice(&41_u64.to_le_bytes());
    seal(&mut former);
    let file = path.join("identity");
    for bit in 0..former.len() * 8 {
        let mut bad = former.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &bad).unwrap();
        let refused = open(&path).expect_err("a flipped bit");
        let named =
            matches!(refused, DirectoryError::Damaged { .. } | DirectoryError::Newer { .. });
        assert!(named, "bit {bit}: {refused}");
    }
    fs::write(&file, &former).unwrap();
    let mut made = open(&path).unwrap();
    assert_eq!(made.identity(), Identity { cluster_id: 9, node_id: 3, incarnation: 42 });
    made.folder("x", &PARTS).unwrap();
    made.ceiling("clock").unwrap();
    made.complete().unwrap();
    drop(made);
    made = open(&path).unwrap();
    assert_eq!(made.identity().incarnation, 43);
    made.folder("x", &PARTS).unwrap();
    fs::remove_file(path.join("x/owner")).unwrap();
    assert_eq!(made.folder("x", &PARTS).unwrap_err().code(), "store_foreign");
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    let _first = open(&path).unwrap();
    let pid = std::process::id().to_string();
    match open(&path) {
        Err(DirectoryError::InUse { pid: told, .. }) => assert_eq!(told, pid),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_ours_or_open_to_others_is_refused_and_untouched() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, b"x").unwrap();
    assert!(matches!(open(&file), Err(DirectoryError::NotADirectory { .. })));

    let exposed = temp.path().join("exposed");
    fs::create_dir(&exposed).unwrap();
    fs::set_permissions(&exposed, Permissions::from_mode(0o750)).unwrap();
    let refused = open(&exposed).unwrap_err();
    assert!(matches!(refused, DirectoryError::Exposed { mode: 0o750, .. }), "{refused}");
    assert!(refused.to_string().contains("chmod 700"));
    assert_eq!(fs::read_dir(&exposed).unwrap().count(), 0);

    let foreign = temp.path().join("foreign");
    DirBuilder::new().mode(0o700).create(&foreign).unwrap();
    fs::write(foreign.join("notes.txt"), b"x").unwrap();
    match open(&foreign) {
        Err(DirectoryError::Foreign { found, .. }) => assert_eq!(found, "notes.txt"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_opening_cut_short_is_begun_again() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    DirBuilder::new().mode(0o700).create(&path).unwrap();
    fs::write(path.join("identity.new"), b"half").unwrap();
    assert_eq!(open(&path).unwrap().identity().incarnation, 1);
}

#[test]
fn every_flip_and_every_cut_of_the_identity_is_found() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    complete(&path);
    let file = path.join("identity");
    let good = fs::read(&file).unwrap();
    let slot = good.len() / 2;
    let sealed = 8 + 4 + 8 + (16 + 4 + 8 + 8 + 1) + 4;
    assert!(good[sealed..slot].iter().chain(&good[slot + sealed..]).all(|byte| *byte == 0));
    for bit in 0..sealed * 8 {
        let flip = |bytes: &mut [u8], slot: usize| bytes[slot + bit / 8] ^= 1 << (bit % 8);
        // Opening syncs, so only one bit of every byte.
        for at in [0, slot].into_iter().filter(|_| bit % 8 == bit / 8 % 8) {
            let mut bad = good.clone();
            flip(&mut bad, at);
            fs::write(&file, &bad).unwrap();
            let opened = open(&path).expect("the other slot is sound");
            assert!(opened.is_complete() && opened.identity().incarnation > 1, "bit {bit}");
        }
        let mut bad = good.clone();
        flip(&mut bad, 0);
        flip(&mut bad, slot);
        fs::write(&file, &bad).unwrap();
        let refused = open(&path).expect_err("both slots are damaged");
        let named =
            matches!(refused, DirectoryError::Damaged { .. } | DirectoryError::Newer { .. });
        assert!(named, "bit {bit}: {refused}");
        assert_eq!(fs::read(&file).unwrap(), bad, "a refused directory is not touched");
    }
    for len in (0..sealed + 1).chain(slot - 1..slot + sealed + 1).chain([good.len() - 1]) {
        fs::write(&file, &good[..len]).unwrap();
        let refused = open(&path).expect_err("a cut file");
        assert!(matches!(refused, DirectoryError::Damaged { .. }), "{len}: {refused}");
    }
    fs::write(&file, &good).unwrap();
    open(&path).unwrap();
}

#[test]
fn no_two_starts_count_the_same_after_damage_to_the_last() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    complete(&path);
    for _ in 0..4 {
        let last = open(&path).unwrap().identity().incarnation;
        let file = path.join("identity");
        let good = fs::read(&file).unwrap();
        for at in [20, good.len() / 2 + 20] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&file, &bad).unwrap();
            assert!(open(&path).unwrap().identity().incarnation > last);
        }
        fs::write(&file, &good).unwrap();
    }
}

#[test]
fn a_newer_format_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    drop(open(&path).unwrap());
    let mut bytes = b"SHOALdir".to_vec();
    bytes.extend_from_slice(&3_u32.to_le_bytes());
    bytes.extend_from_slice(b"whatever a later version writes");
    fs::write(path.join("identity"), bytes).unwrap();
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, DirectoryError::Newer { found: 3, known: 2, .. }), "{refused}");
}
