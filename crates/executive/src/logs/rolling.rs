//! A log file that rolls over: `X.log` becomes `X.lo_` when it is full.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

/// One log file. A disk that is full loses lines, never the component that wrote them.
#[derive(Debug)]
pub(super) struct RollingFile {
    path: PathBuf,
    file: Option<(File, u64)>,
    bytes_max: u64,
    history: bool,
    lost: u64,
}

impl RollingFile {
    pub(super) fn new(path: PathBuf, bytes_max: u64, history: bool) -> Self {
        RollingFile {
            path,
            file: None,
            bytes_max,
            history,
            lost: 0,
        }
    }

    /// Writes a line. `lost_line` makes the line that tells how many were lost before.
    pub(super) fn write(&mut self, line: &str, lost_line: impl FnOnce(u64) -> String) {
        let told = if self.lost > 0 {
            lost_line(self.lost)
        } else {
            String::new()
        };
        match self.append(&told, line) {
            Ok(()) => self.lost = 0,
            Err(_) => {
                self.file = None;
                self.lost += 1;
            }
        }
    }

    fn append(&mut self, told: &str, line: &str) -> io::Result<()> {
        let length = (told.len() + line.len()) as u64;
        if self
            .file
            .as_ref()
            .is_some_and(|(_, size)| *size > 0 && size + length > self.bytes_max)
        {
            self.roll_over()?;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            let size = file.metadata()?.len();
            self.file = Some((file, size));
        }
        if let Some((file, size)) = &mut self.file {
            file.write_all(told.as_bytes())?;
            file.write_all(line.as_bytes())?;
            *size += length;
        }
        Ok(())
    }

    fn roll_over(&mut self) -> io::Result<()> {
        self.file = None;
        if self.history {
            std::fs::rename(&self.path, self.path.with_extension("lo_"))
        } else {
            std::fs::remove_file(&self.path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolls_over_once_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hman.log");
        let mut log = RollingFile::new(path.clone(), 100, true);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        let first = "1".repeat(60) + "\n";
        let second = "2".repeat(60) + "\n";
        let third = "3".repeat(60) + "\n";
        log.write(&first, |_| String::new());
        log.write(&second, |_| String::new());
        assert_eq!((read("hman.lo_"), read("hman.log")), (first, second.clone()));
        log.write(&third, |_| String::new());
        assert_eq!((read("hman.lo_"), read("hman.log")), (second, third));
    }

    #[test]
    fn lost_lines_are_told_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("logs");
        let mut log = RollingFile::new(missing.join("hman.log"), 10_000, true);
        log.write("lost\n", |_| String::new());
        std::fs::create_dir(&missing).unwrap();
        log.write("kept\n", |lost| format!("{lost} lost\n"));
        assert_eq!(
            std::fs::read_to_string(missing.join("hman.log")).unwrap(),
            "1 lost\nkept\n"
        );
    }
}
