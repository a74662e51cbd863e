//! `docs/commands.md` is what the table of commands says.

use shoal_server::resp::manual;
use std::path::Path;

#[test]
fn commands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let made = manual::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).expect("the folder docs is there");
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == made,
        "docs/commands.md is out of date; run UPDATE_DOCS=1 cargo test -p shoal-server --test resp"
    );
}
