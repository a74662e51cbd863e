//! The pen on a real connection: many hands, a reader that takes nothing, and the end.

use super::*;
use crate::peer::frame::Opener;
use shoal_node::secret::{ClusterSecret, Key};
use shoal_node::transport::Kind;
use std::sync::atomic::AtomicU64;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

fn key() -> Key {
    ClusterSecret::generate([7; 32]).derive("one")
}

/// A pen, and the other end of what it writes to.
async fn pen() -> (Arc<Pen>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (_, writer) = dialled.expect("it listens").into_split();
    // The reading half is gone; the writing half alone is what is written to.
    (Arc::new(Pen::new(writer, Sealer::new(key()))), accepted.expect("it was dialled").0)
}

fn question(id: u64, len: usize) -> Frame {
    let body = Bytes::from(vec![1; len]);
    Frame { what: What::Question(Kind::Data), id, more: false, body }
}

/// Everything that comes until the connection ends; a frame out of its order has a wrong tag.
async fn read_all(mut stream: TcpStream) -> Vec<Frame> {
    let mut opener = Opener::new(key(), BytesMut::new());
    let mut frames = Vec::new();
    loop {
        while let Some(frame) = opener.next().expect("whole, and in order") {
            frames.push(frame);
        }
        if stream.read_buf(opener.room()).await.expect("it is there") == 0 {
            return frames;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_frames_keep_their_order() {
    const EACH: u64 = 2_000;
    let (pen, other) = pen().await;
    let reading = tokio::spawn(read_all(other));
    let next = Arc::new(AtomicU64::new(0));
    let hands: Vec<_> = (0..4)
        .map(|_| {
            let (pen, next) = (Arc::clone(&pen), Arc::clone(&next));
            tokio::spawn(async move {
                let mut written = 0;
                while written < EACH {
                    let mut took = false;
                    let wrote = pen.write(&mut |batch| {
                        batch.push(question(next.fetch_add(1, Ordering::Relaxed), 100));
                        took = true;
                        false
                    });
                    written += u64::from(took);
                    match wrote {
                        Wrote::Full => pen.writable().await,
                        Wrote::More => tokio::task::yield_now().await,
                        Wrote::All => {}
                        Wrote::Over(why) => panic!("{why:?}"),
                    }
                }
            })
        })
        .collect();
    for hand in hands {
        hand.await.expect("it writes");
    }
    let goodbye = Frame { what: What::Goodbye, id: 1, more: false, body: Bytes::new() };
    let mut goodbye = Some(goodbye);
    let mut last = |batch: &mut Vec<Frame>| {
        batch.extend(goodbye.take());
        false
    };
    while pen.write(&mut last) != Wrote::Over(Ending::Stopped) {
        pen.writable().await;
    }
    let frames = reading.await.expect("it reads");
    let ids = frames.iter().filter(|one| one.what != What::Goodbye).map(|one| one.id);
    assert!(ids.eq(0..4 * EACH), "each once, as they were taken");
    assert_eq!(frames.len() as u64, 4 * EACH + 1);
}

#[tokio::test]
async fn what_the_system_does_not_take_is_left_and_goes_on() {
    let (pen, other) = pen().await;
    let mut given = 0;
    loop {
        let wrote = pen.write(&mut |batch| {
            batch.push(question(given, 60_000));
            given += 1;
            false
        });
        assert_eq!(pen.has_left(), wrote == Wrote::Full);
        match wrote {
            Wrote::All => assert!(given < 10_000, "nobody reads"),
            Wrote::Full => break,
            other => panic!("{other:?}"),
        }
    }
    // While something is left nothing more is taken.
    assert_eq!(pen.write(&mut |_| panic!("it is full")), Wrote::Full);
    let reading = tokio::spawn(read_all(other));
    while pen.write(&mut |_| false) == Wrote::Full {
        pen.writable().await;
    }
    assert!(!pen.has_left());
    pen.close();
    assert_eq!(reading.await.expect("it reads").len() as u64, given);
    assert_eq!(pen.write(&mut |_| panic!("it is closed")), Wrote::Over(Ending::Stopped));
    assert!(pen.has_left(), "the task is to find out");
}
