//! The files under `docs/` that are made from tables are up to date.

use std::path::Path;

fn check(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).expect("the folder docs is there");
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == made,
        "docs/{name} is out of date; run UPDATE_DOCS=1 cargo test -p shoal-server --test edge docs"
    );
}

#[test]
fn errors() {
    check("errors.md", &shoal_server::docs::errors());
}

#[test]
fn http() {
    check("http.md", &shoal_server::docs::http());
}

#[test]
fn config() {
    check("config.md", &shoal_server::docs::config());
}

#[test]
fn metrics() {
    check("metrics.md", &shoal_server::docs::metrics());
}
