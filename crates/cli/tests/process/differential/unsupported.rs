//! Commands of Redis that Shoal does not have: each is unknown, and says so as Redis does of a
//! command that it does not know.

use crate::client::Client;
use crate::folder::Folder;
use crate::node::Launch;
use crate::reply::Reply;

const UNSUPPORTED: &[&str] = &[
    "HSET",
    "HGET",
    "HGETALL",
    "LPUSH",
    "RPUSH",
    "LRANGE",
    "SADD",
    "SMEMBERS",
    "ZADD",
    "ZRANGE",
    "XADD",
    "XREAD",
    "PUBLISH",
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "EVAL",
    "EVALSHA",
    "SCRIPT",
    "FCALL",
    "SETBIT",
    "GETBIT",
    "BITCOUNT",
    "BITOP",
    "BITFIELD",
    "PFADD",
    "PFCOUNT",
    "GEOADD",
    "GEOSEARCH",
    "DUMP",
    "RESTORE",
    "SORT",
    "SORT_RO",
    "BLPOP",
    "BRPOP",
    "BZPOPMIN",
    "MONITOR",
    "MIGRATE",
    "REPLICAOF",
    "PSYNC",
    "SHUTDOWNX",
];

#[test]
fn differential_unsupported_commands_are_unknown() {
    let folder = Folder::new("unsupported");
    let launch = Launch::new(&folder.path().join("data"));
    let node = launch.start().unwrap_or_else(|refused| panic!("{}", refused.log));
    let mut client = Client::connect(&node.address).expect("the node is there");
    for name in UNSUPPORTED {
        let unknown = Reply::Error(format!(
            "ERR unknown command '{name}', with args beginning with: 'a' 'b c' "
        ));
        let arguments = [name, "a", "b c"];
        assert_eq!(client.ask(&arguments).unwrap(), unknown);
        let listed = client.ask(&["COMMAND", "INFO", name]).unwrap();
        let Reply::Array(listed) = listed else { panic!("{name}: {listed:?}") };
        assert!(listed.iter().all(Reply::is_nil), "{name}: {listed:?}");
        assert_eq!(client.line("MULTI").unwrap(), Reply::ok());
        assert_eq!(client.ask(&arguments).unwrap(), unknown);
        let aborted = "EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(client.line("EXEC").unwrap(), Reply::Error(aborted.to_owned()));
    }
    node.kill();
}
