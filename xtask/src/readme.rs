//! The README's examples, run as they stand.
//!
//! A block fenced as `sh` is run when the line before it is `<!-- run -->`, or
//! `<!-- run needs PROGRAM… -->` for one that asks for programs not every machine has. The blocks
//! run in order, each with `bash -euo pipefail`, in an empty folder, with `shoal` on the path and
//! a node running. The README names the default port; here it is replaced by a free one.

use crate::cargo::{cargo, watch};
use crate::report::Outcome;
use crate::root::root;
use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The port that the README's examples name.
const README_PORT: &str = "7400";
/// How the node says that it serves; the address follows.
const READY: &str = "listening on ";

/// A marked block.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    /// The line of its first command, counted from 1.
    line: usize,
    needs: Vec<String>,
    commands: String,
}

/// Runs the examples by themselves.
pub(crate) fn run() -> Result<bool> {
    let outcome = layer()?;
    for words in outcome.failures.iter().chain(&outcome.skipped) {
        println!("{words}");
    }
    println!("{} passed, {} failed", outcome.passed, outcome.failed);
    Ok(outcome.failures.is_empty())
}

/// Builds the binary, then runs the examples against it.
pub(crate) fn layer() -> Result<Outcome> {
    let text = std::fs::read_to_string(root().join("README.md")).context("README.md")?;
    let blocks = blocks(&text)?;
    if blocks.is_empty() {
        bail!("README.md marks no example with <!-- run -->");
    }
    let mut outcome = watch(&mut cargo(&[
        "build",
        "--workspace",
        "--exclude",
        "xtask",
        "--bins",
        "--locked",
        "--profile",
        "checked",
    ]))?;
    if !outcome.failures.is_empty() {
        return Ok(outcome);
    }
    let programs = root().join("target").join("checked");
    let folder = root().join("target").join("readme");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let node = Node::start(&programs, &folder.join("data"))?;
    for block in &blocks {
        let missing: Vec<&str> =
            block.needs.iter().map(String::as_str).filter(|program| !on_path(program)).collect();
        if missing.is_empty() {
            match run_block(block, &node.port, &programs, &folder) {
                Ok(()) => outcome.passed += 1,
                Err(error) => {
                    outcome.failed += 1;
                    outcome.fail(&format!("README.md:{}: {error:#}", block.line));
                }
            }
        } else {
            let programs = missing.join(", ");
            outcome.skipped.push(format!("skipped: README.md:{} needs {programs}", block.line));
        }
    }
    drop(node);
    std::fs::remove_dir_all(&folder)?;
    Ok(outcome)
}

/// The marked blocks of a README; refuses a mark that no `sh` block follows.
fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(mark) = line.trim().strip_prefix("<!-- run").and_then(|l| l.strip_suffix("-->"))
        else {
            continue;
        };
        let needs = mark.trim().strip_prefix("needs").unwrap_or("").split_whitespace();
        let needs = needs.map(str::to_owned).collect();
        let mark_line = at + 1;
        let opened = lines.next().is_some_and(|(_, line)| line.trim() == "```sh");
        if !opened {
            bail!("README.md:{mark_line}: no ```sh block follows this mark");
        }
        let mut commands = String::new();
        let mut closed = false;
        for (_, line) in lines.by_ref() {
            closed = line.trim() == "```";
            if closed {
                break;
            }
            commands.push_str(line);
            commands.push('\n');
        }
        if !closed {
            bail!("README.md:{mark_line}: the block is not closed");
        }
        blocks.push(Block { line: mark_line + 2, needs, commands });
    }
    Ok(blocks)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn run_block(block: &Block, port: &str, programs: &Path, folder: &Path) -> Result<()> {
    let commands = block.commands.replace(README_PORT, port);
    println!("README.md:{}\n{}", block.line, commands.trim_end());
    let mut path = vec![programs.to_path_buf()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let status = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands])
        .current_dir(folder)
        .env("PATH", std::env::join_paths(path)?)
        .env("SHOAL_ADDR", format!("127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .status()
        .context("cannot start bash")?;
    if !status.success() {
        bail!("the example ended with {status}");
    }
    Ok(())
}

/// A running node, ended when dropped.
struct Node {
    process: Child,
    port: String,
}

impl Node {
    fn start(programs: &Path, data: &PathBuf) -> Result<Self> {
        let mut process = Command::new(programs.join("shoal"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the node")?;
        let told = process.stdout.take();
        let mut node = Self { process, port: String::new() };
        let mut told = BufReader::new(told.context("the node has no output")?);
        let mut line = String::new();
        while told.read_line(&mut line)? > 0 {
            if let Some(port) = port_in(&line) {
                node.port = port.to_owned();
                // Read to its end, else the node would stop at a full pipe.
                std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
                return Ok(node);
            }
            eprint!("{line}");
            line.clear();
        }
        bail!("the node ended before it was ready")
    }
}

fn port_in(line: &str) -> Option<&str> {
    let (_, address) = line.split_once(READY)?;
    let address = address.split_whitespace().next()?;
    let (_, port) = address.rsplit_once(':')?;
    let end = port.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(port.len());
    (end > 0).then_some(&port[..end])
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself, which is all that is wanted.
        let _ended = self.process.kill();
        let _waited = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_blocks_are_run() {
        let text = "# Title\n```sh\nrm -rf all\n```\n<!-- run -->\n```sh\nshoal get a\n```\n\
                    <!-- run needs redis-cli curl -->\n```sh\nredis-cli ping\n```\n";
        let blocks = blocks(text).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].commands, "shoal get a\n");
        assert_eq!(blocks[0].line, 7);
        assert_eq!(blocks[1].needs, ["redis-cli", "curl"]);
    }

    #[test]
    fn a_mark_without_a_block_is_refused() {
        assert!(blocks("<!-- run -->\ntext\n").is_err());
        assert!(blocks("<!-- run -->\n```sh\nshoal\n").is_err());
    }

    #[test]
    fn the_port_is_read_from_what_the_node_says() {
        assert_eq!(port_in("INFO ready: listening on 127.0.0.1:4711\n"), Some("4711"));
        assert_eq!(port_in("ready: listening on 127.0.0.1:4711, data in x"), Some("4711"));
        assert_eq!(port_in("starting"), None);
    }
}
