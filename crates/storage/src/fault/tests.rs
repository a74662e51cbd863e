//! The test disk loses what it should and keeps what it must.

use super::{Call, Dirty, Fate, FaultDisk, Image};
use crate::files::{Files, Open};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

fn disk() -> FaultDisk {
    FaultDisk::new(Image::empty(Path::new("/d"), 4))
}

fn lost(disk: &FaultDisk) -> Image {
    disk.image().crash(&mut |_| Fate::Lost)
}

#[test]
fn bytes_are_safe_once_synced_and_names_once_their_folder_is() {
    let disk = disk();
    let file = disk.open(&path("a"), Open::Fresh).expect("made");
    file.write_at(0, b"abc").expect("written");
    file.sync_data().expect("synced");
    assert_eq!(disk.image().bytes(&path("a")), Some(&b"abc"[..]));
    assert_eq!(lost(&disk).bytes(&path("a")), None, "the name is not safe");
    disk.sync_dir(Path::new("/d")).expect("synced");
    assert_eq!(lost(&disk).bytes(&path("a")), Some(&b"abc"[..]));
    file.write_at(1, b"XY").expect("written");
    assert_eq!(lost(&disk).bytes(&path("a")), Some(&b"abc"[..]));
    disk.rename(&path("a"), &path("b")).expect("renamed");
    let left = lost(&disk);
    assert_eq!((left.bytes(&path("a")), left.bytes(&path("b"))), (Some(&b"abc"[..]), None));
    let kept = disk.image().crash(&mut |_| Fate::Kept);
    assert_eq!((kept.bytes(&path("a")), kept.bytes(&path("b"))), (None, Some(&b"aXY"[..])));
}

#[test]
fn a_write_is_torn_at_sectors_and_within_them() {
    let disk = disk();
    let file = disk.open(&path("a"), Open::Fresh).expect("made");
    file.write_at(0, &[0; 12]).expect("written");
    file.sync_data().expect("synced");
    disk.sync_dir(Path::new("/d")).expect("synced");
    file.write_at(2, b"ABCDEFGH").expect("written");
    let image = disk.image();
    assert_eq!(image.pieces(), 3, "it touches three sectors of four bytes");
    for (fates, expected) in [
        ([Fate::Kept, Fate::Lost, Fate::Kept], b"\0\0AB\0\0\0\0GH\0\0"),
        ([Fate::Lost, Fate::Head(1), Fate::Lost], b"\0\0\0\0C\0\0\0\0\0\0\0"),
        ([Fate::Tail(1), Fate::Tail(3), Fate::Lost], b"\0\0\0B\0\0\0F\0\0\0\0"),
        ([Fate::Head(9), Fate::Tail(9), Fate::Head(0)], b"\0\0AB\0\0\0\0\0\0\0\0"),
    ] {
        let crashed = image.crash(&mut |piece| fates[piece]);
        assert_eq!(crashed.bytes(&path("a")), Some(&expected[..]), "{fates:?}");
    }
}

#[test]
fn a_failed_sync_gives_up_what_waited_for_good() {
    for dirty in [Dirty::SeenOn, Dirty::Gone] {
        let disk = disk();
        disk.set_dirty(dirty);
        let file = disk.open(&path("a"), Open::Fresh).expect("made");
        disk.sync_dir(Path::new("/d")).expect("synced");
        file.write_at(0, b"abcd").expect("written");
        disk.fail(Call::Sync, 0, ErrorKind::Other);
        assert!(file.sync_data().is_err());
        file.write_at(4, b"efgh").expect("written");
        file.sync_data().expect("the second sync succeeds");
        let seen: &[u8] = if dirty == Dirty::SeenOn { b"abcdefgh" } else { b"\0\0\0\0efgh" };
        assert_eq!(disk.image().bytes(&path("a")), Some(seen));
        assert_eq!(lost(&disk).bytes(&path("a")), Some(&b"\0\0\0\0efgh"[..]), "{dirty:?}");
    }
}

#[test]
fn the_power_goes_in_the_middle_of_a_call() {
    let disk = disk();
    let file = disk.open(&path("a"), Open::Fresh).expect("made");
    disk.sync_dir(Path::new("/d")).expect("synced");
    disk.power_off_at(1);
    file.write_at(0, b"ab").expect("the first call is fine");
    assert!(file.sync_data().is_err());
    assert!(disk.is_off() && file.write_at(0, b"zz").is_err());
    let image = disk.image();
    assert_eq!(image.pieces(), 1, "the sync did not get through, and nothing came after it");
    assert_eq!(lost(&disk).bytes(&path("a")), Some(&b""[..]));
    let kept = image.crash(&mut |_| Fate::Kept);
    assert_eq!(kept.bytes(&path("a")), Some(&b"ab"[..]));
}

#[test]
fn the_nth_call_fails_and_the_disk_fills_up() {
    let disk = disk();
    disk.fail(Call::Write, 1, ErrorKind::Other);
    let file = disk.open(&path("a"), Open::Fresh).expect("made");
    file.write_at(0, b"ab").expect("the first");
    assert!(file.write_at(0, b"cd").is_err());
    assert_eq!(disk.image().bytes(&path("a")), Some(&b"cb"[..]), "half of it was written");
    file.write_at(0, b"ef").expect("the third");
    disk.set_capacity(4);
    assert_eq!(disk.free_space(Path::new("/d")).expect("a figure"), 2);
    let full = file.write_at(2, b"xyz").expect_err("there is no room");
    assert!(crate::files::is_full(&full));
    assert!(file.allocate(5).is_err());
    file.allocate(4).expect("there is room");
    assert_eq!(file.len().expect("a length"), 4);
}
