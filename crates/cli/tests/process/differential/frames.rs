//! Bytes that are no proper command: what is answered, and whether the connection lives.

use super::Pair;
use crate::client::Client;
use crate::node::Node;
use crate::reply::{Reply, shown};

/// What is sent to a new connection, one connection each.
const FRAMES: &[&[u8]] = &[
    b"PING\r\n",
    b"ping\n",
    b"  PING  \r\n",
    b"\r\n\r\nPING\r\n",
    b"SET k \"a b\\x41\\n\"\r\nGET k\r\n",
    b"SET k 'it\\'s'\r\nGET k\r\n",
    b"SET k \"unbalanced\r\n",
    b"GET 'a'b\r\n",
    b"*0\r\nPING\r\n",
    b"*-1\r\nPING\r\n",
    b"*-7\r\nPING\r\n",
    b"*x\r\n",
    b"*1.5\r\n",
    b"*\r\n",
    b"*2147483648\r\n",
    b"*99999999999999999999\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$x\r\n",
    b"*1\r\n$\r\n",
    b"*1\r\n$99999999999\r\n",
    b"*1\r\n:4\r\nPING\r\n",
    b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
    b"*2\r\n$4\r\nECHO\r\n$5\r\na\r\nbc\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*2\r\n$3\r\nFOO\r\n$3\r\nb\x00r\r\n",
    b"*2\r\n$3\r\nF\nO\r\n$3\r\nb\r\n\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
    b"*2\r\n$3\r\nGET\r\n",
];

/// The answer after which nothing more is waited for.
const END: &str = "the end of the frame";

#[test]
fn differential_strange_frames_are_answered_like_redis() {
    let Some(pair) = Pair::start("differential-frames") else { return };
    let mut differences = Vec::new();
    for frame in FRAMES {
        let (ours, theirs) = (answers(&pair.shoal, frame), answers(&pair.redis, frame));
        if ours != theirs {
            differences.push(format!("{}\n  Shoal: {ours:?}\n  Redis: {theirs:?}", shown(frame)));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    pair.shoal.kill();
}

/// Every answer to the frame and to an ECHO sent after it, to the ECHO's or to the connection's
/// end.
fn answers(node: &Node, frame: &[u8]) -> Vec<Result<Reply, &'static str>> {
    let mut client = Client::connect(&node.address).expect("both servers are there");
    let mut answers = Vec::new();
    let end = format!("*2\r\n$4\r\nECHO\r\n${}\r\n{END}\r\n", END.len());
    if client.send(&[frame, end.as_bytes()].concat()).is_err() || client.close_sending().is_err() {
        return vec![Err("closed")];
    }
    loop {
        match client.read() {
            Ok(Reply::Bulk(bytes)) if bytes == END.as_bytes() => return answers,
            Ok(reply) => answers.push(Ok(reply)),
            // Whether the end comes with a reset is the system's business.
            Err(_) => {
                answers.push(Err("closed"));
                return answers;
            }
        }
    }
}
