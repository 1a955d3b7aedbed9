//! The tree of a Debian package: every file with its place and mode, and what Debian wants to know about them.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder};

/// What a package is made from.
pub struct Inputs {
    /// The project's folder.
    pub sources: PathBuf,
    /// The program.
    pub binary: PathBuf,
    /// What `tidegate generate` wrote: `man` and `completions`.
    pub generated: PathBuf,
    /// Version of the program.
    pub version: String,
    /// Debian's name of the architecture.
    pub architecture: String,
    /// Time of every file, in seconds since 1970.
    pub time: u64,
}

/// Files that keep an administrator's changes.
const CONFFILES: [&str; 2] = ["etc/default/tidegate", "etc/default/tidegate-cloud"];

/// Lays everything out below `root`.
pub fn lay_out(inputs: &Inputs, root: &Path) -> Result<()> {
    let tree = Tree { inputs, root };
    tree.copy(&inputs.binary, "usr/bin/tidegate", 0o755)?;
    let packaging = inputs.sources.join("packaging");
    for (from, to) in [
        (
            "systemd/tidegate.service",
            "usr/lib/systemd/system/tidegate.service",
        ),
        (
            "systemd/tidegate-cloud.service",
            "usr/lib/systemd/system/tidegate-cloud.service",
        ),
        ("systemd/sysusers.conf", "usr/lib/sysusers.d/tidegate.conf"),
        ("debian/default.tidegate", CONFFILES[0]),
        ("debian/default.tidegate-cloud", CONFFILES[1]),
        ("debian/copyright", "usr/share/doc/tidegate/copyright"),
    ] {
        tree.copy(&packaging.join(from), to, 0o644)?;
    }
    let completions = inputs.generated.join("completions");
    for (from, to) in [
        ("tidegate.bash", "usr/share/bash-completion/completions/tidegate"),
        ("_tidegate", "usr/share/zsh/vendor-completions/_tidegate"),
        (
            "tidegate.fish",
            "usr/share/fish/vendor_completions.d/tidegate.fish",
        ),
    ] {
        tree.copy(&completions.join(from), to, 0o644)?;
    }
    for page in files(&inputs.generated.join("man"))? {
        let name = page
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read(&page).with_context(|| page.display().to_string())?;
        tree.compress(&text, &format!("usr/share/man/man1/{name}.gz"))?;
    }
    for guide in files(&inputs.sources.join("docs/guide"))? {
        let name = guide
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        tree.copy(&guide, &format!("usr/share/doc/tidegate/guide/{name}"), 0o644)?;
    }
    let changes = std::fs::read(inputs.sources.join("CHANGELOG.md")).context("CHANGELOG.md")?;
    tree.compress(&changes, "usr/share/doc/tidegate/changelog.gz")?;
    tree.control(&packaging)?;
    set_times(root, inputs.time)
}

struct Tree<'a> {
    inputs: &'a Inputs,
    root: &'a Path,
}

impl Tree<'_> {
    fn copy(&self, from: &Path, to: &str, mode: u32) -> Result<()> {
        let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(&bytes, to, mode)
    }

    fn compress(&self, bytes: &[u8], to: &str) -> Result<()> {
        // Without name and time, so that the same text gives the same file.
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
        gzip.write_all(bytes)?;
        self.write(&gzip.finish()?, to, 0o644)
    }

    fn write(&self, bytes: &[u8], to: &str, mode: u32) -> Result<()> {
        let path = self.root.join(to);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    /// The part that dpkg reads.
    fn control(&self, packaging: &Path) -> Result<()> {
        let mut sums = String::new();
        let mut kilobytes = 0;
        for path in below(self.root)? {
            let inside = path.strip_prefix(self.root)?.display().to_string();
            kilobytes += std::fs::metadata(&path)?.len().div_ceil(1024);
            sums.push_str(&format!("{}  {inside}\n", md5(&path)?));
        }
        let binary = std::fs::read(&self.inputs.binary)?;
        let conffiles: String = CONFFILES.iter().map(|path| format!("/{path}\n")).collect();
        let Inputs {
            version,
            architecture,
            ..
        } = self.inputs;
        let depends = depends(&binary);
        let control = format!(
            "Package: tidegate\n\
             Version: {version}\n\
             Architecture: {architecture}\n\
             Maintainer: The Tidegate authors <tidegate@example.invalid>\n\
             Installed-Size: {kilobytes}\n\
             Depends: {depends}, ca-certificates\n\
             Recommends: systemd\n\
             Section: admin\n\
             Priority: optional\n\
             Description: service connection point for hierarchies of self-hosted sites\n \
             Downloads only applicable, signed updates of a vendor, checks and installs\n \
             them, and says at any moment what waits for what, and why. Brings the site\n \
             (tidegate.service) and the vendor's connected service\n \
             (tidegate-cloud.service); neither starts before it was set up.\n"
        );
        self.write(control.as_bytes(), "DEBIAN/control", 0o644)?;
        self.write(conffiles.as_bytes(), "DEBIAN/conffiles", 0o644)?;
        self.write(sums.as_bytes(), "DEBIAN/md5sums", 0o644)?;
        for script in ["postinst", "postrm"] {
            let from = packaging.join("debian").join(script);
            self.copy(&from, &format!("DEBIAN/{script}"), 0o755)?;
        }
        Ok(())
    }
}

/// The libraries that the program is linked with, which is the C library and the compiler's own.
fn depends(binary: &[u8]) -> String {
    let names = |word: &[u8]| {
        let word = word.to_vec();
        binary
            .windows(word.len())
            .enumerate()
            .filter(move |(_, window)| *window == word)
            .map(|(at, window)| at + window.len())
    };
    // The newest version of a symbol that is asked for, as the linker names it: GLIBC_2.34.
    let newest = names(b"GLIBC_2.")
        .filter_map(|at| {
            let digits: Vec<u8> = binary[at..]
                .iter()
                .copied()
                .take_while(u8::is_ascii_digit)
                .take(3)
                .collect();
            String::from_utf8(digits).ok()?.parse::<u32>().ok()
        })
        .max();
    let libc = match newest {
        Some(minor) => format!("libc6 (>= 2.{minor})"),
        None => "libc6".to_owned(),
    };
    match names(b"libgcc_s.so.1").next() {
        Some(_) => format!("{libc}, libgcc-s1"),
        None => libc,
    }
}

/// The checksum that dpkg --verify compares with; it protects against accidents only.
fn md5(path: &Path) -> Result<String> {
    let output = Command::new("md5sum")
        .arg(path)
        .output()
        .context("cannot run md5sum")?;
    let text = String::from_utf8(output.stdout)?;
    match text.split_whitespace().next() {
        Some(sum) if output.status.success() => Ok(sum.to_owned()),
        _ => bail!("md5sum tells nothing of {}", path.display()),
    }
}

/// Files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Every file below a folder, by path.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = files(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(below(&path)?);
        }
    }
    all.sort();
    Ok(all)
}

/// Sets the time of everything below a folder, and its own; folders are readable for everybody.
fn set_times(path: &Path, seconds: u64) -> Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            set_times(&entry?.path(), seconds)?;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    std::fs::File::open(path)?
        .set_modified(time)
        .with_context(|| format!("cannot set the time of {}", path.display()))
}
