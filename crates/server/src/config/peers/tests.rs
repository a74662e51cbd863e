//! What the settings about other nodes mean, and what is refused.

use super::super::resolve::resolve_with;
use super::super::{Raw, Words, resolve};
use super::*;

fn raw(text: &str) -> Raw {
    Raw::from_toml(text).expect(text)
}

fn resolved(text: &str) -> Resolved {
    match resolve(&[(Origin::Flag, raw(text))]) {
        Ok(resolved) => resolved,
        Err(problems) => panic!("{text}: {problems:?}"),
    }
}

fn refused(text: &str) -> String {
    let problems = resolve(&[(Origin::Flag, raw(text))]).expect_err(text);
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

fn shown(resolved: &Resolved, name: &str) -> String {
    let shown = resolved.show().into_iter().find(|shown| shown.field.name == name);
    shown.expect("it is a setting").value
}

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A file with a secret, and the line of settings that names it.
fn secret_file(folder: &Path) -> String {
    let path = folder.join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).expect("it is written");
    format!("secret_file = {:?}\n", path.to_str().expect("a plain path"))
}

#[test]
fn peers_come_to_the_port_after_that_of_clients() {
    for (text, peers, cluster) in [
        ("", "127.0.0.1:7401", "127.0.0.1:7402"),
        ("listen = \"127.0.0.1:0\"", "127.0.0.1:0", "127.0.0.1:0"),
        ("listen = [\"unix:/s\", \"[::1]:99\"]", "[::1]:100", "[::1]:101"),
        ("listen = \"unix:/s\"", "none", "none"),
        ("listen = \"127.0.0.1:65535\"", "none", "none"),
        ("listen = \"127.0.0.1:65534\"", "127.0.0.1:65535", "none"),
        ("peer_listen = \"none\"", "none", "none"),
        ("peer_listen = \"localhost:5\"", "127.0.0.1:5", "127.0.0.1:7402"),
        ("cluster_listen = \"none\"", "127.0.0.1:7401", "none"),
        ("cluster_listen = \"127.0.0.1:9\"\npeer_listen = \"none\"", "none", "127.0.0.1:9"),
        // Whoever can reach it could join, and nobody asked for peers.
        ("listen = \"0.0.0.0:7400\"\ninsecure_open = true", "none", "none"),
        ("listen = \"192.0.2.1:7400\"\ninsecure_open = true", "none", "none"),
    ] {
        let resolved = resolved(text);
        assert_eq!(shown(&resolved, "peer_listen"), peers, "{text}");
        assert_eq!(shown(&resolved, "cluster_listen"), cluster, "{text}");
    }
}

#[test]
fn an_address_that_others_reach_needs_a_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = secret_file(folder.path());
    for text in [
        "peer_listen = \"192.0.2.1:7401\"\n",
        "peer_listen = \"0.0.0.0:7401\"\nadvertise = \"192.0.2.1:0\"\n",
        "advertise = \"192.0.2.1:0\"\n",
        "listen = \"192.0.2.1:7400\"\ninsecure_open = true\njoin = \"192.0.2.2:7401\"\n",
    ] {
        let told = refused(text);
        assert!(told.contains("without a cluster secret"), "{told}");
        assert!(told.contains("--secret-file") && told.contains(SECRET_VARIABLE), "{told}");
        let resolved = resolved(&format!("{text}{secret}"));
        assert!(!resolved.peers.secret.is_public() && resolved.peers.listen.is_some());
    }
    let open = resolved(&format!("listen = \"192.0.2.1:7400\"\ninsecure_open = true\n{secret}"));
    assert_eq!(shown(&open, "peer_listen"), "192.0.2.1:7401", "a secret asks for peers");
}

#[test]
fn the_secret_comes_from_the_file_or_from_the_variable_and_is_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let layers = |text: &str| [(Origin::Flag, raw(text))];
    let from_file = resolved(&secret_file(folder.path()));
    let from_variable = resolve_with(&layers(""), Some(SECRET)).expect("it is sound");
    assert_eq!(from_file.peers.secret, from_variable.peers.secret);
    assert!(resolved("").peers.secret.is_public());
    for resolved in [&from_file, &from_variable] {
        assert!(!format!("{resolved:?}").contains(&SECRET[..16]));
        assert!(resolved.show().iter().all(|shown| !shown.value.contains(SECRET)));
    }
    let told = |text: &str, variable| {
        resolve_with(&layers(text), variable).expect_err("it is wrong")[0].to_string()
    };
    assert!(told(&secret_file(folder.path()), Some(SECRET)).contains("twice"));
    let wrong = told("", Some("hush"));
    assert!(wrong.contains(SECRET_VARIABLE) && !wrong.contains("hush"), "{wrong}");
    assert!(told("secret_file = \"/nowhere/at/all\"", None).contains("/nowhere/at/all"));
    std::fs::write(folder.path().join("secret"), "hush").expect("it is written");
    let path = folder.path().join("secret");
    let line = format!("secret_file = {:?}", path.to_str().expect("a plain path"));
    let wrong = told(&line, None);
    assert!(wrong.contains("shoal cluster secret") && !wrong.contains("hush"), "{wrong}");
}

#[test]
fn a_wildcard_needs_what_others_are_to_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = secret_file(folder.path());
    let told = refused(&format!("peer_listen = \"0.0.0.0:7401\"\n{secret}"));
    assert!(told.contains("--advertise HOST:PORT"), "{told}");
    let told = refused(&format!("advertise = \"0.0.0.0:7401\"\n{secret}"));
    assert!(told.contains("--advertise HOST:PORT"), "{told}");
    let clients = "listen = \"0.0.0.0:7400\"\ninsecure_open = true\nadvertise = \"192.0.2.1:0\"\n";
    let told = refused(&format!("{clients}{secret}"));
    assert!(told.contains("--advertise-client HOST:PORT"), "{told}");
    let told = refused(&format!("{clients}{secret}advertise_client = \"0.0.0.0:1\"\n"));
    assert!(told.contains("advertise_client (flag)"), "{told}");
    let resolved = resolved(&format!("{clients}{secret}advertise_client = \"n1.example:0\"\n"));
    assert_eq!(resolved.peers.advertise_client.as_deref(), Some("n1.example:0"));
    let told = refused("cluster_listen = \"0.0.0.0:7402\"");
    assert!(told.contains("cluster_listen") && told.contains("--insecure-open"), "{told}");
}

#[test]
fn how_a_node_begins_must_not_contradict_itself() {
    for (text, words) in [
        ("bootstrap = true\njoin = \"n1:1\"", ["bootstrap", "join"]),
        ("expect = 3", ["expect", "--join"]),
        ("expect = 3\njoin = \"n1:1\"\nbootstrap = true", ["expect", "bootstrap"]),
        ("replace = \"n3\"", ["replace", "--join"]),
        ("replace = \"n3\"\njoin = \"n1:1\"\nname = \"n4\"", ["n4", "n3"]),
        ("join = \"n1:1\"\npeer_listen = \"none\"", ["--peer-listen", "join"]),
        ("join = \"n1:1\"\nlisten = \"unix:/s\"", ["--peer-listen", "join"]),
        ("bootstrap = true\nlisten = \"unix:/s\"", ["--peer-listen", "bootstrap"]),
    ] {
        let told = refused(text);
        assert!(words.iter().all(|word| told.contains(word)), "{text}: {told}");
    }
    let replacing = resolved("join = [\"n1:1\", \"n2:1\"]\nreplace = \"n3\"");
    assert_eq!((replacing.name.as_str(), replacing.peers.join.len()), ("n3", 2));
    assert_eq!(resolved("join = \"n1:1\"\nreplace = \"n3\"\nname = \"n3\"").name, "n3");
    assert_eq!(resolved("join = \"n1:1\"\nexpect = 3").peers.expect, Some(3));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    for (name, value) in [
        ("peer_listen", "unix:/s"),
        ("peer_listen", "example.org:1"),
        ("advertise", "example.org:1"),
        ("advertise_client", "example.org"),
        ("cluster_listen", "unix:/s"),
        ("join", "n1"),
        ("join", "n1:0"),
        ("expect", "1"),
        ("expect", "65"),
        ("replace", "n 3"),
        ("zone", ""),
        ("weight", "10001"),
        ("weight", "-1"),
        ("tag", "a"),
        ("tag", "=b"),
        ("tag", "a=\n"),
    ] {
        let mut raw = Raw::default();
        raw.set(name, Words::from(value));
        let problems = resolve(&[(Origin::Flag, raw)]).expect_err(name);
        assert!(problems[0].to_string().contains(name), "{problems:?}");
    }
    let many = (0..=MAX_TAGS).map(|n| format!("t{n}=v")).collect::<Vec<_>>();
    let raw = Raw { tag: Some(Words(many)), ..Raw::default() };
    let problems = resolve(&[(Origin::Flag, raw)]).expect_err("too many tags");
    assert!(problems[0].to_string().contains("33 tags"), "{problems:?}");
}

#[test]
fn what_a_node_says_about_itself_is_read() {
    let raw = Raw::from_environment([
        ("SHOAL_TAG".to_owned(), "rack=r1, disk=nvme".to_owned()),
        ("SHOAL_JOIN".to_owned(), "n1:7401,n2:7401".to_owned()),
        ("SHOAL_ZONE".to_owned(), "z1".to_owned()),
        ("SHOAL_WEIGHT".to_owned(), "1,000".to_owned()),
    ]);
    let resolved = resolve(&[(Origin::Environment, raw)]).expect("it is sound");
    let peers = &resolved.peers;
    assert_eq!((peers.zone.as_deref(), peers.weight), (Some("z1"), 1_000));
    assert_eq!(peers.join, ["n1:7401", "n2:7401"]);
    assert_eq!(peers.tags.get("disk").map(String::as_str), Some("nvme"));
    assert_eq!(shown(&resolved, "tag"), "disk=nvme,rack=r1");
    assert_eq!(resolved.origin("tag"), Origin::Environment);
}
