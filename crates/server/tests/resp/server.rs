//! Commands on the server as a whole and on the cluster.

use crate::support::{Host, both};

#[test]
fn info_has_the_fields_that_tools_read() {
    const FIELDS: &str = "redis_version shoal_version redis_mode os process_id run_id tcp_port \
        uptime_in_seconds connected_clients maxclients used_memory used_memory_rss \
        used_memory_peak maxmemory maxmemory_policy loading:0 rdb_bgsave_in_progress:0 \
        rdb_last_bgsave_status:ok aof_enabled aof_last_write_status:ok total_commands_processed \
        instantaneous_ops_per_sec keyspace_hits keyspace_misses expired_keys evicted_keys \
        role:master connected_slaves:0 used_cpu_sys used_cpu_user cluster_enabled:0 \
        db0:keys=1,expires=0 db3:keys=1,expires=1";
    for host in both() {
        let mut client = host.connect();
        client.expect(&[("SET a 1", "+OK"), ("SELECT 3", "+OK"), ("SETEX a 1000 1", "+OK")]);
        let info = format!(" {}", client.ask("INFO"));
        for field in FIELDS.split_whitespace() {
            assert!(info.contains(&format!(" {field}")), "{field} in {info}");
        }
        for (section, heading) in [("CPU", "# CPU"), ("keyspace", "# Keyspace db0"), ("x", "")] {
            let info = client.ask(&format!("INFO {section}"));
            let text = info.split_once(' ').map_or("", |(_, text)| text);
            assert!(text.starts_with(heading) && (section != "x" || text.is_empty()), "{info}");
        }
        assert!(client.ask("INFO server Clients").contains("# Clients"));
        client.ask("HELLO 3");
        assert!(client.ask("INFO replication").contains(" txt:# Replication role:master"));
    }
}

#[test]
fn settings_are_told_by_name_and_pattern() {
    let host = Host::memory();
    let mut client = host.connect();
    client.expect(&[
        ("CONFIG GET save", "*2 $4 save $0"),
        ("CONFIG GET SAVE nope", "*2 $4 SAVE $0"),
        ("CONFIG GET nope", "*0"),
        (
            "CONFIG GET append* save APPENDONLY",
            "*6 $11 appendfsync $6 always $10 appendonly $2 no $4 save $0",
        ),
        ("CONFIG SET nope 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'nope'"),
        ("CONFIG SET save", "-ERR wrong number of arguments for 'config|set' command"),
        ("CONFIG SET save '' port", "-ERR syntax error"),
        (
            "CONFIG SET save '' SAVE ''",
            "-ERR CONFIG SET failed (possibly related to argument 'SAVE') - duplicate parameter",
        ),
        (
            "CONFIG SET port 1",
            "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable \
             config",
        ),
        ("CONFIG SET save '' appendonly no", "+OK"),
        (
            "CONFIG SET appendfsync nope",
            "-ERR CONFIG SET failed (possibly related to argument \
          'appendfsync') - can't set immutable config",
        ),
        (
            "CONFIG SET maxmemory-policy allkeys-lru",
            "-ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') - it needs \
             maxmemory",
        ),
        (
            "CONFIG SET appendfsync everysec",
            "-ERR CONFIG SET failed (possibly related to argument 'appendfsync') - only a \
             keyspace on disk can be synced",
        ),
        ("CONFIG SET timeout 0 slowlog-max-len 0 slowlog-log-slower-than -1", "+OK"),
        ("CONFIG SET slowlog-log-slower-than -2", "+OK"),
        ("CONFIG GET slowlog-log-slower-than", "*2 $23 slowlog-log-slower-than $2 -1"),
        (
            "CONFIG SET slowlog-log-slower-than 0",
            "-ERR CONFIG SET failed (possibly related to argument 'slowlog-log-slower-than') - \
             can't set immutable config",
        ),
        (
            "CONFIG SET timeout 300",
            "-ERR CONFIG SET failed (possibly related to argument 'timeout') - can't set \
             immutable config",
        ),
        ("CONFIG SET maxmemory 10mb maxmemory-policy allkeys-lru", "+OK"),
        ("CONFIG GET maxmemory", "*2 $9 maxmemory $8 10485760"),
        (
            "CONFIG SET maxmemory 10x",
            "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be \
             a memory value",
        ),
        ("CONFIG GET maxmemory-policy", "*2 $16 maxmemory-policy $11 allkeys-lru"),
        ("CONFIG SET maxmemory-policy noeviction maxmemory 0", "+OK"),
        ("CONFIG GET maxmemory-policy", "*2 $16 maxmemory-policy $10 noeviction"),
        ("CONFIG RESETSTAT", "+OK"),
    ]);
    for name in [
        "maxmemory",
        "databases",
        "timeout",
        "maxclients",
        "proto-max-bulk-len",
        "port",
        "bind",
        "dir",
        "slowlog-max-len",
    ] {
        assert!(client.ask(&format!("CONFIG GET {name}")).starts_with("*2 "), "{name}");
    }
    client.expect(&[("CONFIG GET maxclients", "*2 $10 maxclients $4 9000")]);
    assert!(client.ask("INFO clients").contains("maxclients:9000 "));
    client.ask("HELLO 3");
    client.expect(&[("CONFIG GET save", "%1 $4 save $0")]);
}

#[test]
fn when_writes_are_synced_can_be_changed_on_disk() {
    let host = Host::disk();
    host.connect().expect(&[
        ("CONFIG GET append*", "*4 $11 appendfsync $6 always $10 appendonly $3 yes"),
        (
            "CONFIG SET maxmemory 1gb",
            "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - only a keyspace \
             in memory can be bounded by it",
        ),
        ("CONFIG SET appendfsync everysec appendonly yes", "+OK"),
        ("CONFIG GET appendfsync", "*2 $11 appendfsync $8 everysec"),
        ("CONFIG SET appendfsync no", "+OK"),
        ("CONFIG GET appendfsync", "*2 $11 appendfsync $2 no"),
        ("MULTI", "+OK"),
        ("CONFIG SET appendfsync no", "+QUEUED"),
        ("CONFIG SET appendfsync always", "+QUEUED"),
        ("EXEC", "*2 +OK -ERR CONFIG SET of this is not possible in a transaction"),
        ("CONFIG SET appendfsync always", "+OK"),
    ]);
}

#[test]
fn everything_else_that_is_asked_of_a_server() {
    for host in both() {
        let mut client = host.connect();
        client.expect(&[
            ("SAVE", "+OK"),
            ("BGSAVE", "+OK"),
            ("BGSAVE SCHEDULE", "+OK"),
            ("BGSAVE x", "-ERR syntax error"),
            ("ROLE", "*3 $6 master :0 *0"),
            ("ACL WHOAMI", "$7 default"),
            ("WAIT 0 0", ":0"),
            ("WAIT 1 0", ":0"),
            ("WAIT 0 -1", "-ERR timeout is negative"),
            ("MEMORY USAGE a", "$-1"),
            ("SLOWLOG GET", "*0"),
            ("SLOWLOG LEN", ":0"),
            ("SLOWLOG RESET", "+OK"),
            ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
            ("LATENCY LATEST", "*0"),
            ("LATENCY RESET", ":0"),
            ("LATENCY GRAPH x", "-ERR No samples available for event 'x'"),
            ("CLIENT UNPAUSE", "+OK"),
            ("COMMAND COUNT x", "-ERR wrong number of arguments for 'command|count' command"),
            ("COMMAND GETKEYS MSET a 1 b 2", "*2 $1 a $1 b"),
        ]);
        assert!(client.ask("TIME").starts_with("*2 $10 "));
        assert!(client.ask("LASTSAVE").starts_with(':'));
        for container in ["OBJECT", "CLIENT", "CONFIG", "COMMAND", "CLUSTER", "MEMORY", "ACL"] {
            let help = client.ask(&format!("{container} HELP"));
            assert!(help.contains(&format!("+{container} takes one of these")), "{help}");
        }
    }
}

#[test]
fn the_cluster_is_one_node_with_all_slots() {
    for host in both() {
        let mut client = host.connect();
        let id = client.ask("CLUSTER MYID");
        let id = id.strip_prefix("$40 ").expect("forty digits").to_owned();
        assert!(
            client.ask("CLUSTER INFO").contains("cluster_state:ok cluster_slots_assigned:16384")
        );
        assert!(client.ask("CLUSTER NODES").contains("myself,master - 0 0"));
        client.expect(&[
            ("CLUSTER KEYSLOT foo", ":12182"),
            ("CLUSTER KEYSLOT {foo}bar", ":12182"),
            ("MSET foo 1 {foo}bar 2 baz 3", "+OK"),
            ("CLUSTER COUNTKEYSINSLOT 12182", ":2"),
            ("CLUSTER GETKEYSINSLOT 12182 1", "*1 $3 foo"),
            ("CLUSTER GETKEYSINSLOT 12182 9", "*2 $3 foo $8 {foo}bar"),
            ("CLUSTER GETKEYSINSLOT 12182 0", "*0"),
            ("CLUSTER GETKEYSINSLOT 12182 -1", "-ERR Invalid slot or number of keys"),
            ("CLUSTER GETKEYSINSLOT 16384 1", "-ERR Invalid slot or number of keys"),
            ("CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot"),
            ("CLUSTER COUNTKEYSINSLOT x", "-ERR value is not an integer or out of range"),
            ("CLUSTER SLOTS", &format!("*1 *3 :0 :16383 *4 $9 127.0.0.1 :0 $40 {id} *0")),
        ]);
        client.ask("HELLO 3");
        client.expect(&[(
            "CLUSTER SHARDS",
            &format!(
                "*1 %2 $5 slots *2 :0 :16383 $5 nodes *1 %7 $2 id $40 {id} $4 port :0 $2 ip $9 \
                 127.0.0.1 $8 endpoint $9 127.0.0.1 $4 role $6 master $18 replication-offset :0 \
                 $6 health $6 online"
            ),
        )]);
    }
}

#[test]
fn levels_are_chosen_for_the_connection_or_for_one_command() {
    for host in both() {
        let mut client = host.connect();
        client.expect(&[
            ("CONSISTENCY", "$7 default"),
            ("CONSISTENCY two", "-ERR a level is one, quorum, all or default"),
            ("CONSISTENCY All", "+OK"),
            ("CONSISTENCY", "$3 all"),
            ("AT one SET key value", "+OK"),
            ("AT quorum GET key", "$5 value"),
            ("CONSISTENCY", "$3 all"),
            ("AT one CONSISTENCY one", ONE_COMMAND),
            ("AT one MULTI", ONE_COMMAND),
            ("AT one AT one GET key", ONE_COMMAND),
            ("AT two GET key", "-ERR a level is one, quorum, all or default"),
            ("AT one GET", "-ERR wrong number of arguments for 'get' command"),
            ("AT one NOPE", "-ERR unknown command 'NOPE', with args beginning with:"),
            ("MULTI", "+OK"),
            ("AT one GET key", "-ERR Command not allowed inside a transaction"),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            ("RESET", "+RESET"),
            ("CONSISTENCY", "$7 default"),
            ("WAIT 1 0", ":0"),
            ("AT all SET key value", "+OK"),
            ("WAIT 1 0", ":0"),
        ]);
    }
}

const ONE_COMMAND: &str = "-ERR AT sets the level of one command that reads or writes keys";

#[test]
fn what_clients_that_know_the_cluster_ask_for_is_granted() {
    let host = Host::memory();
    let mut client = host.connect();
    client.expect(&[("READONLY", "+OK"), ("READWRITE", "+OK"), ("ASKING", "+OK")]);
    assert!(client.ask("INFO cluster").contains("cluster_enabled:0 shoal_members:1"));
}
