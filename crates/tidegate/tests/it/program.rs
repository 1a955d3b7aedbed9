//! Running the binary: no variable of the environment gets in, and its directory is a temporary one.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory of its own for one test.
pub struct Sealed {
    folder: tempfile::TempDir,
}

/// What a run of the binary printed.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Sealed {
    pub fn new() -> Self {
        Sealed {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The directory given as `--dir`, through the environment.
    pub fn dir(&self) -> PathBuf {
        self.path().join("site")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path())
            .env("TZ", "UTC")
            .env("TIDEGATE_DIR", self.dir())
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end. Paths of this test are written as `DIR`.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.read(self.command(arguments).output().unwrap())
    }

    pub fn read(&self, output: Output) -> Ran {
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(self.dir().to_str().unwrap(), "DIR")
        };
        Ran {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}
