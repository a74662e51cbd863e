//! A node whose cluster is not there: what it answers while it waits for a majority.

use super::rig::Rig;
use crate::client::Client;
use crate::reply::Reply;

#[test]
fn a_node_without_a_majority_says_so_instead_of_hanging() {
    let mut rig = Rig::of_three("starting");
    assert_eq!(rig.ask(1, "SET kept 1"), Reply::ok());
    for node in [1, 2, 3] {
        rig.stop(node);
    }
    let waits = "waiting for the cluster to take note of this start";
    let Ok(node) = rig.launch(3).start_until(waits) else { panic!("it waits for the others") };
    let mut client = Client::connect(&rig.address(3)).expect("it can be reached");
    let mut ask = |line: &str| client.line(line).expect("it answers");
    // It is there, and says how it is.
    for line in ["PING", "INFO", "CLUSTER INFO", "SELECT 0"] {
        let reply = ask(line);
        assert_eq!(reply.error(), None, "{line}: {reply:?}");
    }
    for line in ["GET kept", "SET kept 2", "DBSIZE", "SCAN 0", "MSET a 1 b 2", "FLUSHALL"] {
        let reply = ask(line);
        let refused = reply.error().unwrap_or_else(|| panic!("{line}: {reply:?}"));
        assert!(refused.starts_with("TRYAGAIN"), "{line}: {refused}");
    }
    assert!(ask("GET kept").error().is_some_and(|why| why.contains("not known here yet")));
    let status = rig.status(3).expect("it tells");
    let why = status["starting"].as_str().expect("it says what it waits for");
    assert!(why.contains("n1") && why.contains("n2"), "{why}");
    assert_eq!(rig.code(3, "/_ready"), 503);
    assert_eq!(rig.code(3, "/_health"), 200);
    assert!(!node.log().contains("ready: "), "it does not say that requests are welcome");
    node.kill();
    rig.start(&[1, 2, 3]);
    rig.wait_whole(&[1, 2, 3]);
    assert_eq!(rig.ask(3, "GET kept").bulk(), Some(&b"1"[..]));
    assert_eq!(rig.code(3, "/_ready"), 200);
    assert!(rig.status(3).expect("it tells")["starting"].is_null());
}
