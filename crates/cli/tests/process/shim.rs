//! Building the shim that records file calls and lets them fail, where there is a compiler.

use crate::folder::Folder;
use crate::node::Launch;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The built shim.
pub(crate) struct Shim(PathBuf);

impl Shim {
    /// Builds it into `folder`; what stands in the way otherwise.
    pub(crate) fn build(folder: &Folder) -> Result<Self, String> {
        if !cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
            return Err("file calls can be recorded on Linux only".to_owned());
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/shim.c");
        let library = folder.path().join("shim.so");
        let output = Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-o"])
            .args([&library, &source])
            .output()
            .map_err(|error| format!("there is no C compiler: {error}"))?;
        if !output.status.success() {
            panic!("shim.c does not compile:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        let shim = Self(library);
        let tried = Command::new("true")
            .env("LD_PRELOAD", &shim.0)
            .env("SHIM_ROOT", "/nowhere")
            .env("SHIM_TRACE", folder.path().join("tried"))
            .status();
        if !tried.is_ok_and(|status| status.success()) {
            return Err("system calls cannot be watched on this machine".to_owned());
        }
        Ok(shim)
    }

    /// The same start, recorded: what happens below `root` goes to the end of `trace`.
    pub(crate) fn record(&self, launch: Launch, root: &Path, trace: &Path) -> Launch {
        launch
            .variable("LD_PRELOAD", &text(&self.0))
            .variable("SHIM_ROOT", &text(root))
            .variable("SHIM_TRACE", &text(trace))
    }

    /// The same start, in which the `nth` call on anything below `root`, counted from 1, fails
    /// with the system's `error`; `note` then tells which that was.
    pub(crate) fn fail(
        &self,
        launch: Launch,
        root: &Path,
        (nth, error): (u64, i32),
        note: &Path,
    ) -> Launch {
        launch
            .variable("LD_PRELOAD", &text(&self.0))
            .variable("SHIM_ROOT", &text(root))
            .variable("SHIM_FAIL", &format!("{nth}:{error}"))
            .variable("SHIM_FAILED", &text(note))
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}
