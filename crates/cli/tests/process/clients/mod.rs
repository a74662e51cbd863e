//! Other people's clients, unmodified: redis-py, ioredis, go-redis, the `redis` crate, redis-cli,
//! redis-benchmark and curl.
//!
//! The scripts beside this file know nothing of Shoal. Each is skipped, loudly, where its client
//! is not installed; `SHOAL_PYTHON`, `SHOAL_NODE_PATH`, `SHOAL_GO` and `SHOAL_GOPATH` say where to
//! find what the system does not have.

mod redis_rs;

use crate::folder::Folder;
use crate::node::{Launch, Node};
use crate::settings::skipped;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A node for one client.
fn node(test: &str) -> (Folder, Node) {
    let folder = Folder::new(test);
    let launch = Launch::new(&folder.path().join("data"));
    let node = launch.start().unwrap_or_else(|refused| panic!("{}", refused.log));
    (folder, node)
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/clients").join(name)
}

pub(crate) fn works(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs a client to its end, which must be a good one, and returns what it printed.
fn run(node: &Node, command: &mut Command) -> String {
    run_against(command, || node.log())
}

/// The same against whatever serves and has this to say where it goes wrong.
pub(crate) fn run_against(command: &mut Command, log: impl FnOnce() -> String) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the client starts");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let status = output.status;
    assert!(status.success(), "{status}\n{out}\n{err}\nwhat served: {}", log());
    out.into_owned()
}

fn port(node: &Node) -> &str {
    node.address.rsplit_once(':').expect("an address has a port").1
}

#[test]
fn clients_redis_py_works_unmodified() {
    let python = std::env::var("SHOAL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !works(Command::new(&python).args(["-c", "import redis"])) {
        return skipped("redis-py is not installed");
    }
    let (_folder, node) = node("redis-py");
    for protocol in ["2", "3"] {
        run(&node, Command::new(&python).arg(script("redis_py.py")).args([port(&node), protocol]));
    }
    node.kill();
}

#[test]
fn clients_ioredis_works_unmodified() {
    let with_path = || {
        let mut command = Command::new("node");
        if let Ok(path) = std::env::var("SHOAL_NODE_PATH") {
            command.env("NODE_PATH", path);
        }
        command
    };
    if !works(with_path().args(["-e", "require('ioredis')"])) {
        return skipped("ioredis is not installed");
    }
    let (_folder, node) = node("ioredis");
    run(&node, with_path().arg(script("ioredis.js")).arg(port(&node)));
    node.kill();
}

#[test]
fn clients_go_redis_works_unmodified() {
    let go = std::env::var("SHOAL_GO").unwrap_or_else(|_| "go".to_owned());
    let packages = std::env::var("SHOAL_GOPATH").unwrap_or_else(|_| "/usr/share/gocode".to_owned());
    if !works(Command::new(&go).arg("version")) {
        return skipped("go-redis is not driven, as Go is not installed");
    }
    if !Path::new(&packages).join("src/github.com/redis/go-redis/go.mod").is_file() {
        return skipped("go-redis is not installed");
    }
    let (folder, node) = node("go-redis");
    let source = folder.path().join("src/drive");
    std::fs::create_dir_all(&source).expect("the folder is ours");
    std::fs::copy(script("go_redis.go"), source.join("main.go")).expect("the program is there");
    // Only below a file like this does Go see that `go-redis/v9` means `go-redis`.
    std::fs::write(source.join("go.mod"), "module drive\n").expect("the folder is ours");
    let program = folder.path().join("drive");
    let mut build = Command::new(&go);
    build.current_dir(&source).args(["build", "-o"]).arg(&program).arg(".");
    // Nothing is fetched, and nothing kept but the compiled packages beside our own.
    build.env("GO111MODULE", "off").env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
    build.env("GOPATH", format!("{}:{packages}", folder.path().display()));
    build.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"));
    run(&node, &mut build);
    run(&node, Command::new(&program).arg(port(&node)));
    node.kill();
}

#[test]
fn clients_redis_cli_and_redis_benchmark_work_unmodified() {
    if !works(Command::new("redis-cli").arg("--version")) {
        return skipped("redis-cli is not installed");
    }
    let (_folder, node) = node("redis-cli");
    let ask = |words: &[&str]| {
        run(&node, Command::new("redis-cli").args(["-p", port(&node)]).args(words))
    };
    assert_eq!(ask(&["SET", "greeting", "hello"]), "OK\n");
    assert_eq!(ask(&["GET", "greeting"]), "hello\n");
    assert_eq!(ask(&["-3", "GET", "greeting"]), "hello\n");
    assert_eq!(ask(&["--scan", "--pattern", "gree*"]), "greeting\n");
    assert_eq!(ask(&["-n", "3", "DBSIZE"]), "0\n");
    assert!(ask(&["INFO", "server"]).contains("redis_version:7.0.15"));
    let bench = ["-t", "ping,set,get,incr,mset", "-n", "2000", "-q", "-P", "4", "-p", port(&node)];
    let told = run(&node, Command::new("redis-benchmark").args(bench));
    assert!(told.contains("MSET (10 keys)") && !told.contains("rror"), "{told}");
    node.kill();
}

#[test]
fn clients_curl_works_unmodified() {
    if !works(Command::new("curl").arg("--version")) {
        return skipped("curl is not installed");
    }
    let (_folder, node) = node("curl");
    let curl = |arguments: &[&str], path: &str| {
        let url = format!("http://{}/{path}", node.address);
        run(&node, Command::new("curl").args(["-sS", "--path-as-is"]).args(arguments).arg(url))
    };
    let upload = script("ioredis.js").to_string_lossy().into_owned();
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    curl(&["-f", "-X", "POST", "-d", "value"], "key");
    assert_eq!(curl(&["-f"], "key"), "value");
    curl(&["-f", "-T", upload.as_str()], "a%2Fb/../c%00");
    assert_eq!(curl(&status, "a%2Fb/../c%00"), "200");
    assert_eq!(curl(&status, "nothing-here"), "404");
    curl(&["-f", "-X", "DELETE"], "key");
    assert_eq!(curl(&status, "key"), "404");
    assert_eq!(curl(&[&status[..], &["--http2-prior-knowledge"]].concat(), "_health"), "200");
    let foreign = [&status[..], &["-H", "Host: evil.example"]].concat();
    assert_eq!(curl(&foreign, "key"), "403");
    node.kill();
}
