//! The second version of a product on a site that has the first: fetching, and what it takes until it is installed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::media::{guid, publish, size};
use super::{Row, local_pair, now, ours, started, time, until};

pub fn run(program: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (service, site) = local_pair(program, folder.path())?;
    let _running = started(program, &site)?;
    let library = site.join("content/objects");
    let version = |number: u64| -> Result<(Duration, u64, Duration)> {
        publish(program, &service, folder.path(), number)?;
        let before = size(&library)?;
        let guid = guid(number);
        let start = now();
        ours(program, &site, &["updates", "check", "--wait"])?;
        until("the download", Duration::from_secs(300), || {
            let text = ours(program, &site, &["--json", "updates", "show", &guid]).ok()?;
            let update: serde_json::Value = serde_json::from_str(&text).ok()?;
            (update["state"]["code"] == 262_146).then_some(())
        })?;
        let (fetched, stored) = (start.elapsed(), size(&library)? - before);
        let start = now();
        ours(program, &site, &["updates", "install", &guid, "--wait"])?;
        Ok((fetched, stored, start.elapsed()))
    };
    let (first, whole, _) = version(1)?;
    let (second, stored, installed) = version(2)?;
    let (from, to) = (folder.path().join("v2"), folder.path().join("copy"));
    let copy = format!("cp -r {} {to} && sync -f {to}", from.display(), to = to.display());
    let copied = time(Command::new("sh").args(["-c", &copy]))?;
    let hash = format!("sha256sum {}/*", from.display());
    let hashed = time(Command::new("sh").args(["-c", &hash]))?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let install = "check and install the second version, 256 MiB";
    Ok(vec![
        Row::times(
            "fetch the second version, 22 of 256 MiB changed",
            second,
            "the first version",
            first,
        ),
        Row {
            what: "bytes more in the content library".into(),
            ours: format!("{:.1} MiB", mib(stored)),
            peer: format!("the first version {:.0} MiB", mib(whole)),
            ratio: format!("{:.3}", stored as f64 / whole as f64),
        },
        Row::times(install, installed, "cp and sync of its tree", copied),
        Row::times(install, installed, "sha256sum of its tree", hashed),
    ])
}
